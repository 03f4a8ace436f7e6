// Answers as text: a line a question with the newest one, what came before it, and what it cost, in plain words.

import { made } from "./nodes.js";
import { placesOf, wordsOf } from "./points.js";
import { age, moment } from "./times.js";

export const spoken = (answer) => wordsOf(answer) || "(no words)";

// One line for each question of a source; with what else is known of each answer if `whole`.
export function showLines(list, stream, whole = false) {
  const open = new Set([...list.children].filter((item) => item.querySelector("details[open]")).map(questionOf));
  list.replaceChildren(...[...stream.answers].map(([question, held]) => line(question, held, whole)));
  for (const item of list.children) item.querySelector("details")?.toggleAttribute("open", open.has(questionOf(item)));
}

const questionOf = (item) => item.querySelector(".asked").textContent;

function line(question, held, whole) {
  const newest = held.at(-1);
  const item = made("li", "line", made("p", "asked", question));
  if (!newest) {
    item.append(made("p", "answer none", "no answer yet"));
    return item;
  }
  item.toggleAttribute("data-alarm", Boolean(newest.alert?.on));
  const words = made("span", "words", spoken(newest));
  item.append(made("p", "answer", words, ...chance(newest), ...alarm(newest), " ", age(newest.created)));
  if (whole) item.append(...rest(newest, held.slice(0, -1)));
  return item;
}

const alarm = (answer) => (answer.alert?.on ? [" ", made("strong", "alarm", "alarm")] : []);

// How sure it was, where it chose among answers.
function chance({ answer, choices }) {
  const share = choices?.probabilities[answer];
  return share === undefined ? [] : [" ", made("span", "chance", percent(share))];
}

function rest(newest, earlier) {
  const after = (newest.age_ms.at_last_token / 1000).toFixed(2);
  const nodes = [made("p", "when", moment(newest.created), `, ${after} s after the frame: ${newest.trigger}`)];
  const places = placesOf(newest);
  if (places) nodes.unshift(made("p", "places", places));
  if (earlier.length) nodes.push(history(earlier));
  return nodes;
}

function history(earlier) {
  const list = made("ol", "earlier", ...earlier.toReversed().map((one) =>
    made("li", "", moment(one.created), made("span", "", spoken(one), ...chance(one), ...alarm(one)))));
  return made("details", "", made("summary", "", `${earlier.length} earlier`), list);
}

const percent = (share) => `${Math.round(100 * share)} %`;

// Of an answer about a source that somebody asked for.
export function costOf({ tokens, milliseconds: ms, times_seconds: times, age_ms }) {
  const spent = (ms.prefill_video + ms.prefill_question + ms.decode) / 1000;
  const after = (age_ms.at_last_token / 1000).toFixed(1);
  return `${spent.toFixed(spent < 0.1 ? 2 : 1)} s, ${times.length} frames with ` +
    `${percent(tokens.visual_kept / tokens.visual_in)} of their tokens, ${after} s after the newest`;
}
