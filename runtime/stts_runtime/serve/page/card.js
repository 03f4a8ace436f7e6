// A source in the grid, with its picture, or in the list of those that are away, in one row.

import { pictureOf, thumbnail } from "./alarms.js";
import { showLines } from "./answers.js";
import { made } from "./nodes.js";
import { hrefOf } from "./over.js";
import { SourceView } from "./source_view.js";
import { showState } from "./state.js";
import { duration } from "./times.js";

const template = document.getElementById("card");

export class Card extends SourceView {
  constructor(stream, isSmall) {
    super(stream, template);
    const link = this.part("h3 a");
    link.href = hrefOf(stream);
    link.prepend(stream.name);
    this.begin(isSmall ? "small" : "large");
  }

  answered() {
    showLines(this.part(".lines"), this.stream);
    this.showEvidence(pictureOf(this.stream));
    super.answered();
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
