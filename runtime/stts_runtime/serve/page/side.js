// One side of a comparison: a clip at one keep ratio, its conversation, and what it cost.

import { spoken } from "./answers.js";
import { made } from "./nodes.js";
import { placesOf } from "./points.js";
import { post } from "./server.js";

const template = document.getElementById("side");
let count = 0;

export class Side {
  // `clip` has the file and the questions of the conversation; `told` is called when there is a new answer.
  constructor(name, keep, clip, told) {
    Object.assign(this, { clip, told, wanted: keep, turns: [] });
    this.node = template.content.firstElementChild.cloneNode(true);
    this.part(".keep-name").textContent = name;
    this.group = `keep-${(count += 1)}`;
    this.part(".keep").addEventListener("change", (event) => {
      this.choose(Number(event.target.value));
      this.askAgain();
    });
    this.part(".enlarge").addEventListener("click", () => this.openPicture());
  }

  part(selector) {
    return this.node.querySelector(selector);
  }

  offer(variants) {
    this.variants = variants;
    this.part(".keeps").replaceChildren(...variants.map(({ keep }, place) => {
      const input = made("input", "");
      Object.assign(input, { type: "radio", name: this.group, value: place });
      return made("label", "", input, made("span", "", keep === 1 ? "1, all" : String(keep)));
    }));
    const distances = variants.map((one) => Math.abs(one.keep - this.wanted));
    this.choose(distances.indexOf(Math.min(...distances)));
  }

  choose(place) {
    this.variant = this.variants[place];
    this.wanted = this.variant.keep;
    this.node.querySelectorAll(".keeps input")[place].checked = true;
    this.part("output").textContent = `${this.variant.kept} of ${this.variant.visual_tokens} visual tokens`;
  }

  offerNothing() {
    this.variant = null;
    this.part(".keep").hidden = true;
  }

  clear() {
    this.round = {};
    this.turns = [];
    this.answer = null;
    this.tellWaiting("");
    this.node.removeAttribute("data-answered");
    this.part(".turns").hidden = true;
    for (const part of [".asked", ".text", ".places", ".cost", ".tokens", ".time"]) this.part(part).textContent = "";
    for (const track of this.node.querySelectorAll(".track")) track.replaceChildren();
    this.part(".enlarge").hidden = true;
  }

  // Without words it waits no more.
  tellWaiting(words) {
    this.node.toggleAttribute("data-waiting", words !== "");
    this.part(".waiting").textContent = words;
  }

  // The whole conversation, by another variant.
  askAgain() {
    this.turns = [];
    return this.ask();
  }

  // The questions of the conversation that this side has not answered.
  async ask() {
    const round = (this.round = {});
    const { frames, keep } = this.variant ?? {};
    try {
      for (const question of this.clip.questions.slice(this.turns.length)) {
        this.tellWaiting(`computing: ${question}`);
        const history = this.turns.map(({ question, answer }) => ({ question, answer }));
        const about = { question, file_id: this.clip.file.id, frames, keep, history };
        const reply = await (await post("api/ask", about)).json();
        // Another keep ratio was chosen, and has asked again.
        if (this.round !== round) return;
        this.turns.push({ question, answer: reply.answer.answer, words: spoken(reply.answer) });
        this.showReply(reply);
      }
    } catch (error) {
      if (this.round === round) this.tell("", error.message);
    } finally {
      if (this.round === round) this.tellWaiting("");
    }
  }

  tell(text, cost) {
    this.part(".text").textContent = text;
    this.part(".cost").textContent = cost;
  }

  showReply({ answer, picture }) {
    this.answer = answer;
    this.node.setAttribute("data-answered", "");
    this.showTurns();
    this.tell(spoken(answer), `${answer.variant}: ${answer.window.frames} frames`);
    this.part(".places").textContent = placesOf(answer);
    this.part(".enlarge").hidden = picture === null;
    if (picture !== null) {
      const image = this.part("img");
      image.src = `data:image/jpeg;base64,${picture}`;
      image.alt = `the frames of the clip at keep ${answer.keep}; what was dropped is dark`;
    }
    this.told();
  }

  showTurns() {
    const earlier = this.turns.slice(0, -1);
    const list = this.part(".turns");
    list.hidden = !earlier.length;
    list.replaceChildren(...earlier.map(({ question, words }) =>
      made("li", "", made("p", "dim", question), made("p", "", words))));
    list.scrollTop = list.scrollHeight;
    this.part(".asked").textContent = this.turns.at(-1).question;
  }

  // Browsers open no data: address as a page.
  openPicture() {
    const bytes = Uint8Array.from(atob(this.part("img").src.split(",")[1]), (one) => one.charCodeAt(0));
    open(URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })), "_blank", "noopener");
  }

  showMeters(mostTokens, mostMs) {
    const { tokens, milliseconds: ms, variant } = this.answer;
    const [tokenTrack, timeTrack] = this.node.querySelectorAll(".track");
    fillTrack(tokenTrack, [["kept", tokens.visual_kept]], mostTokens);
    const prefill = ms.prefill_video + ms.prefill_question;
    fillTrack(timeTrack, [["vision", ms.vision], ["prefill", prefill], ["decode", ms.decode]], mostMs);
    this.part(".tokens").textContent = `${tokens.visual_kept} of ${tokens.visual_in}`;
    this.part(".time").textContent = `${engineMs(this.answer).toFixed(0)} ms`;
    this.part(".cost").textContent =
      `${variant}: vision ${ms.vision.toFixed(0)} ms, prefill ${prefill.toFixed(1)} ms, ` +
      `decode ${ms.decode.toFixed(1)} ms for ${tokens.generated} tokens; reading the clip took ${ms.read.toFixed(0)} ms` +
      keptOf(this.answer);
  }
}

// Reading the clip costs the same at every keep.
export const engineMs = (answer) => answer.milliseconds.total - answer.milliseconds.read;

// Records say `cached` of a conversation alone.
function keptOf({ reused_vision, reused_prefix, tokens }) {
  if (tokens.cached) return `; ${tokens.cached} of the prompt's ${tokens.prompt} tokens were kept from before`;
  if (reused_prefix) return "; its part of the prompt was kept from before";
  return reused_vision ? "; its visual tokens were kept from before" : "";
}

function fillTrack(track, parts, most) {
  track.replaceChildren(...parts.map(([name, value]) => {
    const part = made("i", name);
    part.title = name;
    part.style.width = `${(100 * value) / most}%`;
    return part;
  }));
}
