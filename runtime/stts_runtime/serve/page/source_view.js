// What a card and the enlarged view of a source have in common: a node with its picture, and what changes in it.

import { showGraphs } from "./graphs.js";
import { LivePicture } from "./picture.js";
import { showState } from "./state.js";

export class SourceView {
  constructor(stream, template) {
    this.stream = stream;
    this.node = template.content.firstElementChild.cloneNode(true);
    this.node.dataset.stream = stream.name;
  }

  part(selector) {
    return this.node.querySelector(selector);
  }

  // Once all parts are there.
  begin(size) {
    this.picture = new LivePicture(this.stream, this.part(".frame"), size);
    this.stream.views.add(this);
    this.filled();
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
    this.node.toggleAttribute("data-alarm", this.stream.isAlarmed);
    this.part(".alarmed").hidden = !this.stream.isAlarmed;
    this.picture.showPoints();
  }
}
