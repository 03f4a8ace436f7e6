// Questions about an uploaded clip or picture: a clip is asked at two keep ratios side by side.

import { Refused, call } from "./server.js";
import { Side, engineMs } from "./side.js";

const at = (id) => document.getElementById(id);

// `questions` are those of one conversation; each side has its own answers.
const clip = { file: null, sides: [], questions: [] };
let state = null;

export function showClipForm(current) {
  state = current;
  const { limits } = state;
  at("clip").hidden = state.variants.length === 0;
  const size = Math.round(limits.upload_bytes / 1e6);
  const picture = state.looks_at_pictures ? `; or a picture, ${state.picture_formats}` : "";
  at("clip-hint").textContent =
    `A clip of up to ${limits.clip_seconds} s and ${size} MB: ${state.clip_formats}${picture}. ` +
    `It is deleted ${Math.round(limits.upload_seconds / 60)} minutes after its last use.`;
}

function framesThatFit(file) {
  const all = [...new Set(state.variants.map((one) => one.frames))].sort((a, b) => a - b);
  const rule = Math.ceil(file.duration_seconds * state.frames_per_second) + 1;
  return all.filter((frames) => frames <= file.frames && (frames <= rule || frames === all[0]));
}

const keepsOf = (frames) => state.variants.filter((one) => one.frames === frames).sort((a, b) => a.keep - b.keep);

at("clip-file").addEventListener("change", async () => {
  const [file] = at("clip-file").files;
  if (!file) return;
  clip.file = null;
  beginAnew();
  at("clip-ask").disabled = true;
  at("clip-problem").textContent = at("verdict").textContent = "";
  at("clip-name").textContent = `uploading ${file.name} ...`;
  try {
    if (file.size > state.limits.upload_bytes) throw new Refused("It is larger than this server takes.");
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", file, file.name);
    clip.file = await (await call("v1/files", { method: "POST", body: form })).json();
    offerClip();
  } catch (error) {
    at("clip-name").textContent = `${file.name} (not taken)`;
    at("clip-problem").textContent = `${file.name}: ${error.message}`;
  } finally {
    at("clip-file").value = ""; // the same file can be chosen again
  }
});

function offerClip() {
  const { file } = clip;
  const isPicture = file.frames === null;
  const length = isPicture ? "picture" : `${file.duration_seconds.toFixed(1)} s, ${file.frames} frames`;
  at("clip-name").textContent = `${file.filename} (${length})`;
  const fitting = isPicture ? [] : framesThatFit(file);
  const choices = fitting.map((frames) => new Option(`${frames} frames`, frames));
  at("clip-frames").replaceChildren(...choices);
  at("clip-frames").hidden = choices.length < 2;
  if (choices.length) at("clip-frames").value = fitting.at(-1);
  showButtons();
  at("clip-ask").disabled = false;
  if (!isPicture && !choices.length) {
    at("clip-problem").textContent = `${file.filename}: the clip has fewer frames than this bundle needs.`;
    at("clip-ask").disabled = true;
    return;
  }
  const names = isPicture ? [["Picture", 1]] : [["A", 1], ["B", state.default_keep]];
  clip.sides = names.map(([name, keep]) => new Side(name, keep, clip, compare));
  at("sides").replaceChildren(...clip.sides.map((side) => side.node));
  offerKeeps();
}

function offerKeeps() {
  const frames = Number(at("clip-frames").value);
  clip.sides.forEach((side) => (frames ? side.offer(keepsOf(frames)) : side.offerNothing()));
}

at("clip-frames").addEventListener("change", () => {
  offerKeeps();
  eachSide((side) => side.askAgain());
});

// One after the other: two at once would only measure how they wait for each other.
async function eachSide(ask) {
  bringUp();
  for (const side of clip.sides) side.tellWaiting("waiting for the other side");
  for (const side of clip.sides) await ask(side);
  bringUp();
}

// The form comes to the top, and below it as much of both sides as there is room for.
function bringUp() {
  if (clip.questions.length) at("ask-clip").scrollIntoView({ block: "start" });
}

function beginAnew() {
  clip.questions = [];
  at("verdict").textContent = "";
  for (const side of clip.sides) side.clear();
  showButtons();
}

function showButtons() {
  const isPicture = clip.file?.frames === null;
  const first = isPicture ? "Ask" : "Compare";
  at("clip-ask").textContent = clip.questions.length ? "Follow up" : first;
  at("clip-anew").hidden = !clip.questions.length;
  at("clip-question").placeholder = clip.questions.length ? "Ask on about it" : "What do you want to know about it?";
}

at("ask-clip").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!clip.file) return;
  const questions = clip.questions;
  questions.push(at("clip-question").value);
  at("clip-ask").disabled = true;
  await eachSide((side) => side.ask());
  // What nobody answered was not said.
  questions.length = Math.max(0, ...clip.sides.map((side) => side.turns.length));
  at("clip-ask").disabled = !clip.file;
  if (clip.questions === questions && questions.length) at("clip-question").select();
  showButtons();
});

at("clip-anew").addEventListener("click", () => {
  beginAnew();
  at("clip-question").value = "";
  at("clip-question").focus();
});

function compare() {
  const done = clip.sides.filter((side) => side.answer);
  const mostTokens = Math.max(...done.map((side) => side.answer.tokens.visual_in));
  const mostMs = Math.max(...done.map((side) => engineMs(side.answer)));
  done.forEach((side) => side.showMeters(mostTokens, mostMs));
  if (done.length === 2) at("verdict").textContent = verdict(...done.map((side) => side.answer));
}

function verdict(a, b) {
  const share = (one, other) => `${Math.round((100 * one) / other)} %`;
  const same = a.answer === b.answer ? "The same answer" : "Another answer";
  const tokens = `${same} with ${share(b.tokens.visual_kept, a.tokens.visual_kept)} of the tokens`;
  const which = `keep ${b.keep} beside keep ${a.keep}`;
  return reused(a) || reused(b)
    ? `${tokens}: ${which}. What was looked at before is not looked at again, so times say nothing here.`
    : `${tokens} and, in this run, ${share(engineMs(b), engineMs(a))} of the time: ${which}.`;
}

// Then its milliseconds are not what it costs to look.
const reused = (answer) => answer.reused_vision || answer.reused_prefix;
