// One source with all that is known of it, and the place to ask about it.

import { alarmItem } from "./alarms.js";
import { showLines } from "./answers.js";
import { showGraphs } from "./graphs.js";
import { setChildren } from "./nodes.js";
import { LivePicture } from "./picture.js";
import { showState } from "./state.js";
import { Talk } from "./talk.js";
import { viewSwitch } from "./views.js";

const template = document.getElementById("closeup");

export class Closeup {
  constructor(stream) {
    this.stream = stream;
    this.node = template.content.firstElementChild.cloneNode(true);
    this.node.dataset.stream = stream.name;
    this.part(".name").textContent = stream.name;
    this.part(".views").append(viewSwitch());
    this.part(".full").addEventListener("click", () => this.fillScreen());
    this.talk = new Talk(stream);
    this.part(".talk").replaceWith(this.talk.node);
    this.picture = new LivePicture(stream, this.part(".frame"), "large");
    stream.views.add(this);
    this.filled();
  }

  part(selector) {
    return this.node.querySelector(selector);
  }

  remove() {
    this.picture.stop();
    this.stream.views.delete(this);
    this.node.remove();
  }

  filled() {
    this.part(".group").textContent = this.stream.group ?? "";
    this.part(".source").textContent = this.stream.source;
    this.picture.recount();
    this.changed();
    this.answered();
    this.looked();
  }

  changed() {
    showState(this.node, this.stream);
    this.picture.showAge();
  }

  looked() {
    showGraphs(this.part(".graphs"), this.stream);
    this.picture.showAge();
    this.picture.fetch();
  }

  answered() {
    showLines(this.part(".lines"), this.stream, true);
    this.showAlarms();
    this.part(".own").hidden = this.stream.answers.size === 0;
    this.node.toggleAttribute("data-alarm", this.stream.isAlarmed);
    this.part(".alarmed").hidden = !this.stream.isAlarmed;
    this.picture.showPoints();
  }

  showAlarms() {
    const { list } = this.stream.alarms;
    this.part(".alarms").hidden = !list.length;
    setChildren(this.part(".alarms ol"), list.map(alarmItem));
  }

  async fillScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.node.requestFullscreen();
  }
}
