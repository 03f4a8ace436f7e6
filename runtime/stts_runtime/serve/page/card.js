// A source in the grid, with its picture, or in the list of those that are away, in one row.

import { pictureOf, thumbnail } from "./alarms.js";
import { showLines } from "./answers.js";
import { showGraphs } from "./graphs.js";
import { made } from "./nodes.js";
import { hrefOf } from "./over.js";
import { LivePicture } from "./picture.js";
import { showState } from "./state.js";
import { duration } from "./times.js";

const template = document.getElementById("card");

export class Card {
  constructor(stream, isSmall) {
    this.stream = stream;
    this.node = template.content.firstElementChild.cloneNode(true);
    this.node.dataset.stream = stream.name;
    const link = this.part("h3 a");
    link.href = hrefOf(stream);
    link.prepend(stream.name);
    this.picture = new LivePicture(stream, this.part(".frame"), isSmall ? "small" : "large");
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
    showLines(this.part(".lines"), this.stream);
    this.showEvidence(pictureOf(this.stream));
    this.node.toggleAttribute("data-alarm", this.stream.isAlarmed);
    this.part(".alarmed").hidden = !this.stream.isAlarmed;
    this.picture.showPoints();
  }

  showEvidence(alarm) {
    if (alarm === this.alarm) return;
    this.alarm = alarm;
    this.part(".evidence").replaceChildren(...(alarm ? [thumbnail(alarm)] : []));
  }
}

export class Row {
  constructor(stream) {
    this.stream = stream;
    const link = made("a", "", stream.name);
    link.href = hrefOf(stream);
    const name = made("p", "name", link, made("span", "group dim"));
    this.node = made("li", "row", name, made("p", "pill"), made("p", "reason"), made("p", "since dim"));
    this.node.dataset.stream = stream.name;
    stream.views.add(this);
    this.filled();
  }

  remove() {
    this.stream.views.delete(this);
    this.node.remove();
  }

  filled() {
    this.node.querySelector(".group").textContent = this.stream.group ?? "";
    this.changed();
  }

  changed() {
    showState(this.node, this.stream);
    this.showAge();
  }

  showAge() {
    this.node.querySelector(".since").textContent = `for ${duration(this.stream.secondsInState)}`;
  }
}
