// One source with all that is known of it, and the place to ask about it.

import { alarmItem } from "./alarms.js";
import { showLines } from "./answers.js";
import { setChildren } from "./nodes.js";
import { SourceView } from "./source_view.js";
import { Talk } from "./talk.js";
import { viewSwitch } from "./views.js";

const template = document.getElementById("closeup");

export class Closeup extends SourceView {
  constructor(stream) {
    super(stream, template);
    this.part(".name").textContent = stream.name;
    this.part(".views").append(viewSwitch());
    this.part(".full").addEventListener("click", () => this.fillScreen());
    this.talk = new Talk(stream);
    this.part(".talk").replaceWith(this.talk.node);
    this.begin("large");
  }

  filled() {
    this.part(".source").textContent = this.stream.box ? `${this.stream.source}, on ${this.stream.box}` : this.stream.source;
    super.filled();
  }

  answered() {
    showLines(this.part(".lines"), this.stream, true);
    this.showAlarms();
    this.part(".own").hidden = this.stream.answers.size === 0;
    super.answered();
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
