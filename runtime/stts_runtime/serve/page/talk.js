// Asking a source about what it shows now: the form, and what was asked and answered before, newest first.

import { costOf, spoken } from "./answers.js";
import { made } from "./nodes.js";
import { placesOf } from "./points.js";
import { post } from "./server.js";
import { age } from "./times.js";

const template = document.getElementById("talk");

export class Talk {
  constructor(stream) {
    this.stream = stream;
    this.node = template.content.firstElementChild.cloneNode(true);
    this.form = this.node.querySelector("form");
    this.input = this.node.querySelector("input");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(this.input.value);
    });
    this.show();
  }

  async ask(question) {
    const turn = { question, asked: new Date().toISOString(), words: "computing ...", isWaiting: true };
    this.stream.talk.unshift(turn);
    this.show();
    const button = this.form.querySelector("button");
    button.disabled = true;
    try {
      const { answer } = await (await post("api/ask", { question, stream: this.stream.name })).json();
      Object.assign(turn, { words: spoken(answer), places: placesOf(answer), cost: costOf(answer), at: answer.created });
      this.input.select();
    } catch (error) {
      Object.assign(turn, { words: error.message, isRefused: true });
    } finally {
      turn.isWaiting = false;
      button.disabled = false;
      this.show();
    }
  }

  show() {
    this.node.querySelector(".turns").replaceChildren(...this.stream.talk.map(turnItem));
  }
}

function turnItem({ question, words, places, cost, at, isWaiting, isRefused }) {
  const answer = made("p", isRefused ? "answer bad" : "answer", made("span", "words", words));
  if (at) answer.append(" ", age(at));
  const item = made("li", isWaiting ? "line waiting" : "line", made("p", "asked", question), answer);
  if (places) item.append(made("p", "places", places));
  if (cost) item.append(made("p", "cost", cost));
  return item;
}
