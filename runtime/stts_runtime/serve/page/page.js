// The live page. Text of streams, models and users is only ever set as text, never as markup.

import { drawPoints, placesOf, pointsOf, wordsOf } from "./points.js";
import { offerSearch } from "./search.js";

const HELD_LOOKS = 120;
const HELD_ANSWERS = 20;
const PICTURES_AT_ONCE = 4; // browsers open six connections to a server, and the events keep one
const MANY = 5;
const SHORTEST_GRAPH = 30;
const OLD_SECONDS = 3;
const SVG = "http://www.w3.org/2000/svg";

const at = (id) => document.getElementById(id);
const cards = new Map();
let state = null;
let view = "kept";

// --- Speaking with the server -------------------------------------------------------------------------------------

class Refused extends Error {}

// Paths are relative: the page may be shown below any path by a proxy.
async function call(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const reply = await fetch(path, { ...options, headers, cache: "no-store" });
  if (reply.status === 401) askForToken(token !== null);
  if (!reply.ok) throw new Refused(await reasonOf(reply));
  return reply;
}

async function reasonOf(reply) {
  try {
    return (await reply.json()).error.message;
  } catch {
    return `the server answered ${reply.status}`;
  }
}

function askForToken(wasWrong) {
  at("token-form").hidden = false;
  at("main").hidden = true;
  at("token-wrong").textContent = wasWrong ? "That token was refused." : "";
  sessionStorage.removeItem("token");
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value.trim());
  at("token").value = "";
  at("token-form").hidden = true;
  open();
});

const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// --- Events: a stream that is read by hand, since EventSource cannot show a token ----------------------------------

async function follow() {
  const reply = await call("api/events");
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  say("live", "connected");
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    blocks.forEach(hear);
  }
}

function hear(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => {
    const [name, ...value] = line.split(": ");
    return [name, value.join(": ")];
  }));
  const heard = { look: looked, answer: answered, state: changed }[fields.event];
  if (heard) heard(JSON.parse(fields.data));
}

function say(kind, words) {
  at("connection").dataset.state = kind;
  at("connection").textContent = words;
}

async function open() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      show(await (await call("api/state")).json());
      if (state.searches) offerSearch(call);
      pause = 500;
      await follow();
    } catch (error) {
      if (!at("token-form").hidden) return;
    }
    say("reconnecting", "not connected, trying again");
    await new Promise((done) => setTimeout(done, pause));
  }
}

// --- Sources ------------------------------------------------------------------------------------------------------

class Card {
  constructor(stream) {
    this.name = stream.name;
    this.node = at("card").content.firstElementChild.cloneNode(true);
    this.node.dataset.stream = stream.name;
    this.part("h3").textContent = stream.name;
    this.part(".source").textContent = stream.source;
    this.image = this.part("img");
    this.shown = 0; // the number of the look whose picture is shown
    this.fetching = false;
    this.visible = false;
    watcher.observe(this.node);
  }

  part(selector) {
    return this.node.querySelector(selector);
  }

  fill(stream) {
    this.looks = stream.looks;
    this.answers = stream.answers;
    this.seen = performance.now() - 1000 * (stream.looked_seconds_ago ?? 0);
    this.become(stream.state, stream.reason);
    this.showAnswers();
    this.showLooks();
    this.fetchPicture();
  }

  become(state, reason) {
    this.state = state;
    this.node.dataset.state = state;
    const pill = this.part(".pill");
    pill.dataset.state = state;
    pill.textContent = state;
    this.part(".reason").textContent = state === "live" ? "" : `${state}: ${reason}`;
    this.showAge();
  }

  look(record) {
    this.looks.push(record);
    if (this.looks.length > HELD_LOOKS) this.looks.shift();
    this.seen = performance.now();
    this.showLooks();
    this.showAge();
    this.fetchPicture();
  }

  answer(record) {
    this.answers.push(record);
    if (this.answers.length > HELD_ANSWERS) this.answers.shift();
    this.showAnswers();
  }

  showLooks() {
    const newest = this.looks.at(-1);
    this.node.toggleAttribute("data-looked", Boolean(newest));
    if (!newest || !this.visible) return;
    this.part(".novelty-now").textContent = newest.novelty.toFixed(2);
    this.part(".lag-now").textContent = `${Math.round(newest.lag_ms)} ms`;
    draw(this.part(".novelty"), this.looks.map((one) => one.novelty), 1, "novelty of the last minute, 0 to 1");
    const lags = this.looks.map((one) => one.lag_ms);
    draw(this.part(".lag"), lags, Math.max(50, ...lags), "age of frames when they had been looked at");
  }

  showAnswers() {
    const newest = this.answers.at(-1);
    if (!newest) return;
    this.node.toggleAttribute("data-answered", this.answers.length > 1);
    this.part(".asked").textContent = newest.question;
    this.part(".answer").textContent = wordsOf(newest) || "(no words)";
    this.part(".places").textContent = placesOf(newest);
    this.showPoints();
    const after = (newest.age_ms.at_last_token / 1000).toFixed(2);
    this.part(".when").textContent = `${clock(newest.created)}, ${after} s after the frame: ${newest.trigger}`;
    this.part(".earlier").replaceChildren(...this.answers.slice(0, -1).reverse().map(listed));
  }

  showPoints() {
    const look = this.looks.find((one) => one.number === this.shown);
    const end = (answer) => answer.times_seconds.at(-1);
    // Several questions share a window.
    const newest = this.answers.filter((one) => end(one) === end(this.answers.at(-1)));
    drawPoints(this.part(".frame"), this.image, look ? newest.flatMap(pointsOf) : [], look?.seconds);
  }

  showAge() {
    const seconds = (performance.now() - this.seen) / 1000;
    const isOld = seconds > OLD_SECONDS && this.shown > 0;
    this.part(".frame").classList.toggle("old", isOld);
    this.part(".age").textContent = isOld ? `last picture ${duration(seconds)} ago` : "";
    if (!this.shown) this.part(".blank").textContent = this.state === "refused" ? "no picture" : "no picture yet";
  }

  fetchPicture() {
    const newest = this.looks.at(-1);
    const isDue = newest && (this.shown < newest.number || this.view !== view);
    if (isDue && this.visible && !this.fetching && !document.hidden) pictures.add(this);
  }

  async load() {
    const wanted = view;
    const size = cards.size > MANY ? "small" : "large";
    const reply = await call(`api/streams/${encodeURIComponent(this.name)}/picture?view=${wanted}&size=${size}`);
    const address = URL.createObjectURL(await reply.blob());
    const before = this.image.src;
    this.image.src = address;
    await this.image.decode();
    if (before) URL.revokeObjectURL(before);
    this.shown = Number(reply.headers.get("X-Stts-Number"));
    this.view = wanted;
    this.describe(wanted);
  }

  describe(wanted) {
    this.image.hidden = false;
    this.image.dataset.number = this.shown;
    this.image.dataset.view = wanted;
    const how = { kept: "dropped patches dark", scores: "coloured by score, yellow is high", plain: "as it came" };
    this.image.alt = `${this.name}: the newest picture, ${how[wanted]}`;
    this.part(".blank").textContent = "";
    const look = this.looks.find((one) => one.number === this.shown);
    const key = look && look.is_key ? " (key frame)" : "";
    this.part(".kept").textContent = look ? `${look.kept} of ${look.groups} patches${key}` : "";
    this.showPoints();
  }
}

// A few pictures at a time, the one that waited longest first.
const pictures = {
  waiting: new Set(),
  open: 0,
  add(card) {
    this.waiting.add(card);
    this.next();
  },
  async next() {
    if (this.open >= PICTURES_AT_ONCE || !this.waiting.size) return;
    const [card] = this.waiting;
    this.waiting.delete(card);
    card.fetching = true;
    this.open += 1;
    try {
      await card.load();
    } catch {
      // The next look asks again.
    } finally {
      card.fetching = false;
      this.open -= 1;
      card.fetchPicture();
      this.next();
    }
  },
};

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = cards.get(entry.target.dataset.stream);
    if (!card) continue;
    card.visible = entry.isIntersecting;
    card.showLooks();
    card.fetchPicture();
  }
}, { rootMargin: "200px" });

function listed(record) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = record.created;
  time.textContent = clock(record.created);
  const text = document.createElement("span");
  text.textContent = wordsOf(record) || "(no words)";
  item.append(time, text);
  return item;
}

function draw(place, values, most, words) {
  let svg = place.firstElementChild;
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(document.createElementNS(SVG, "path"));
    place.append(svg);
  }
  svg.setAttribute("aria-label", words);
  const length = Math.max(SHORTEST_GRAPH, values.length);
  svg.setAttribute("viewBox", `0 0 ${length - 1} 100`);
  const first = length - values.length;
  const points = values.map((value, place) => `${first + place} ${100 - Math.min(1, value / most) * 100}`);
  svg.firstElementChild.setAttribute("d", `M${points.join("L")}`);
}

const clock = (iso) => new Date(iso).toLocaleTimeString();
const duration = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

const looked = (record) => cards.get(record.stream)?.look(record);

function answered(record) {
  cards.get(record.stream)?.answer(record);
}

function changed(record) {
  cards.get(record.stream)?.become(record.state, record.reason);
  count();
}

function count() {
  const live = [...cards.values()].filter((card) => card.state === "live").length;
  at("counts").textContent = cards.size ? `${live} of ${cards.size} live` : "";
}

function show(current) {
  state = current;
  at("main").hidden = false;
  at("bundle").textContent = current.bundle;
  document.title = `stts live: ${current.bundle}`;
  at("noise").hidden = !current.random_weights;
  at("untrained").hidden = current.scorer === null || current.scorer.trained;
  at("no-sources").hidden = current.streams.length > 0;
  at("ask-live").hidden = at("views").hidden = current.streams.length === 0;
  showStreams(current.streams);
  showClipForm();
}

function showStreams(streams) {
  const place = at("streams");
  place.toggleAttribute("data-one", streams.length === 1);
  place.toggleAttribute("data-many", streams.length > MANY);
  const names = new Set(streams.map((stream) => stream.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.node.remove();
    cards.delete(name);
  }
  const asked = at("ask-stream").value;
  at("ask-stream").replaceChildren(...[...names].map((name) => new Option(name, name, false, name === asked)));
  for (const stream of streams) {
    if (!cards.has(stream.name)) {
      const card = new Card(stream);
      cards.set(stream.name, card);
      place.append(card.node);
    }
    const card = cards.get(stream.name);
    // A server that was started anew counts from 1.
    if ((stream.looks.at(-1)?.number ?? 0) < card.shown) card.shown = 0;
    card.fill(stream);
  }
  const tall = streams.length === 1 && place.querySelector("details");
  if (tall) tall.open = true;
  count();
}

setInterval(() => cards.forEach((card) => card.showAge()), 1000);
addEventListener("resize", () => cards.forEach((card) => card.showPoints()));
document.addEventListener("visibilitychange", () => cards.forEach((card) => card.fetchPicture()));

at("views").addEventListener("change", (event) => {
  view = event.target.value;
  cards.forEach((card) => card.fetchPicture());
});

at("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
});

// --- Questions about a source -------------------------------------------------------------------------------------

at("ask-live").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = at("live-answer");
  const button = event.submitter ?? event.target.querySelector("button");
  box.hidden = false;
  tellIn(box, "...", "");
  button.disabled = true;
  try {
    const body = { question: at("ask-question").value, stream: at("ask-stream").value };
    const { answer } = await (await post("api/ask", body)).json();
    tellIn(box, wordsOf(answer) || "(no words)", `${pointed(answer)}${answer.stream}, ${costOfStream(answer)}`);
  } catch (error) {
    tellIn(box, "", error.message);
  } finally {
    button.disabled = false;
  }
});

function tellIn(box, text, cost) {
  box.querySelector(".text").textContent = text;
  box.querySelector(".cost").textContent = cost;
}

const pointed = (answer) => (pointsOf(answer).length ? `${placesOf(answer)}. ` : "");

function costOfStream(answer) {
  const { tokens, milliseconds: ms } = answer;
  const prefill = ms.prefill_video + ms.prefill_question;
  return `${answer.times_seconds.length} frames, ${tokens.visual_kept} of ${tokens.visual_in} visual tokens, ` +
    `prefill ${prefill.toFixed(0)} ms, decode ${ms.decode.toFixed(0)} ms, ` +
    `${(answer.age_ms.at_last_token / 1000).toFixed(2)} s after the newest frame`;
}

// --- Questions about a clip, two keep ratios side by side ---------------------------------------------------------

// `questions` are those of one conversation; each side has its own answers.
const clip = { file: null, sides: [], questions: [] };

function framesThatFit(file) {
  const all = [...new Set(state.variants.map((one) => one.frames))].sort((a, b) => a - b);
  const rule = Math.ceil(file.duration_seconds * state.frames_per_second) + 1;
  return all.filter((frames) => frames <= file.frames && (frames <= rule || frames === all[0]));
}

function keepsOf(frames) {
  return state.variants.filter((one) => one.frames === frames).sort((a, b) => a.keep - b.keep);
}

class Side {
  constructor(name, keep) {
    this.node = at("side").content.firstElementChild.cloneNode(true);
    this.slider = this.node.querySelector("input");
    this.node.querySelector(".keep-name").textContent = name;
    this.wanted = keep;
    this.turns = [];
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value)));
    this.slider.addEventListener("change", () => this.askAgain());
  }

  offer(variants) {
    this.variants = variants;
    this.slider.max = variants.length - 1;
    this.slider.disabled = variants.length < 2;
    const distances = variants.map((one) => Math.abs(one.keep - this.wanted));
    this.choose(distances.indexOf(Math.min(...distances)));
  }

  choose(place) {
    this.variant = this.variants[place];
    this.wanted = this.variant.keep;
    this.slider.value = place;
    this.slider.setAttribute("aria-valuetext", `keep ${this.variant.keep}`);
    const { keep, kept, visual_tokens } = this.variant;
    this.node.querySelector("output").textContent =
      `keep ${keep}${keep === 1 ? ", unpruned" : ""}: ${kept} of ${visual_tokens} visual tokens`;
  }

  offerNothing() {
    this.variant = null;
    this.node.querySelector(".keep").hidden = true;
  }

  clear() {
    this.round = {};
    this.turns = [];
    this.answer = null;
    this.node.toggleAttribute("data-waiting", false);
    this.node.querySelector(".turns").hidden = true;
    for (const part of [".asked", ".text", ".places", ".cost", ".tokens", ".time"]) {
      this.node.querySelector(part).textContent = "";
    }
    for (const track of this.node.querySelectorAll(".track")) track.replaceChildren();
    this.node.querySelector("img").hidden = true;
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
    this.node.toggleAttribute("data-waiting", true);
    try {
      for (const question of clip.questions.slice(this.turns.length)) {
        const history = this.turns.map(({ question, answer }) => ({ question, answer }));
        const reply = await (await post("api/ask", { question, file_id: clip.file.id, frames, keep, history })).json();
        // A slider that was moved on has asked again.
        if (this.round !== round) return;
        this.turns.push({ question, answer: reply.answer.answer, words: wordsOf(reply.answer) });
        this.showReply(reply);
      }
    } catch (error) {
      if (this.round === round) tellIn(this.node, "", error.message);
    } finally {
      if (this.round === round) this.node.toggleAttribute("data-waiting", false);
    }
  }

  showTurns() {
    const earlier = this.turns.slice(0, -1);
    const list = this.node.querySelector(".turns");
    list.hidden = !earlier.length;
    list.replaceChildren(...earlier.map(turnItem));
    list.scrollTop = list.scrollHeight;
    this.node.querySelector(".asked").textContent = this.turns.at(-1).question;
  }

  showReply({ answer, picture }) {
    this.answer = answer;
    this.showTurns();
    tellIn(this.node, wordsOf(answer) || "(no words)", `${answer.variant}: ${answer.window.frames} frames`);
    this.node.querySelector(".places").textContent = placesOf(answer);
    const image = this.node.querySelector("img");
    image.hidden = picture === null;
    if (picture !== null) {
      image.src = `data:image/jpeg;base64,${picture}`;
      image.alt = `the frames of the clip at keep ${answer.keep}, dropped patches dark`;
    }
    compare();
  }

  showMeters(mostTokens, mostMs) {
    const { tokens, milliseconds: ms } = this.answer;
    const [tokenTrack, timeTrack] = this.node.querySelectorAll(".track");
    fillTrack(tokenTrack, [["kept", tokens.visual_kept]], mostTokens);
    const prefill = ms.prefill_video + ms.prefill_question;
    fillTrack(timeTrack, [["vision", ms.vision], ["prefill", prefill], ["decode", ms.decode]], mostMs);
    this.node.querySelector(".tokens").textContent = `${tokens.visual_kept} of ${tokens.visual_in}`;
    this.node.querySelector(".time").textContent = `${engineMs(this.answer).toFixed(0)} ms`;
    this.node.querySelector(".cost").textContent =
      `${this.answer.variant}: vision ${ms.vision.toFixed(0)} ms, prefill ${prefill.toFixed(1)} ms, ` +
      `decode ${ms.decode.toFixed(1)} ms for ${tokens.generated} tokens; reading the clip took ${ms.read.toFixed(0)} ms` +
      keptOf(this.answer);
  }
}

// Then its milliseconds are not what it costs to look.
const reused = (answer) => answer.reused_vision || answer.reused_prefix;

// Records say `cached` of a conversation alone.
function keptOf({ reused_vision, reused_prefix, tokens }) {
  if (tokens.cached) return `; ${tokens.cached} of the prompt's ${tokens.prompt} tokens were kept from before`;
  if (reused_prefix) return "; its part of the prompt was kept from before";
  return reused_vision ? "; its visual tokens were kept from before" : "";
}

function turnItem({ question, words }) {
  const item = document.createElement("li");
  const asked = document.createElement("p");
  asked.className = "dim";
  asked.textContent = question;
  const text = document.createElement("p");
  text.textContent = words || "(no words)";
  item.append(asked, text);
  return item;
}

// Reading the clip costs the same at every keep.
const engineMs = (answer) => answer.milliseconds.total - answer.milliseconds.read;

function fillTrack(track, parts, most) {
  track.replaceChildren(...parts.map(([name, value]) => {
    const part = document.createElement("i");
    part.className = name;
    part.title = name;
    part.style.width = `${(100 * value) / most}%`;
    return part;
  }));
}

function compare() {
  const done = clip.sides.filter((side) => side.answer);
  const mostTokens = Math.max(...done.map((side) => side.answer.tokens.visual_in));
  const mostMs = Math.max(...done.map((side) => engineMs(side.answer)));
  done.forEach((side) => side.showMeters(mostTokens, mostMs));
  if (done.length < 2) return;
  const [a, b] = done.map((side) => side.answer);
  const share = (one, other) => `${Math.round((100 * one) / other)} %`;
  const same = a.answer === b.answer ? "The same answer" : "Another answer";
  const tokens = `${same} with ${share(b.tokens.visual_kept, a.tokens.visual_kept)} of the tokens`;
  const which = `keep ${b.keep} beside keep ${a.keep}`;
  at("verdict").textContent = reused(a) || reused(b)
    ? `${tokens}: ${which}. What was looked at before is not looked at again, so times say nothing here.`
    : `${tokens} and, in this run, ${share(engineMs(b), engineMs(a))} of the time: ${which}.`;
}

function showClipForm() {
  const { limits } = state;
  const size = Math.round(limits.upload_bytes / 1e6);
  const picture = state.looks_at_pictures ? `; or a picture, ${state.picture_formats}` : "";
  at("clip-hint").textContent =
    `A clip of up to ${limits.clip_seconds} s and ${size} MB: ${state.clip_formats}${picture}. ` +
    `It is deleted ${Math.round(limits.upload_seconds / 60)} minutes after its last use.`;
}

at("clip-file").addEventListener("change", async () => {
  const [file] = at("clip-file").files;
  if (!file) return;
  clip.file = null;
  beginAnew();
  at("clip-ask").disabled = true;
  at("clip-problem").textContent = at("verdict").textContent = "";
  at("clip-name").textContent = `uploading ${file.name}`;
  try {
    if (file.size > state.limits.upload_bytes) throw new Refused(`${file.name} is larger than this server takes.`);
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", file, file.name);
    clip.file = await (await call("v1/files", { method: "POST", body: form })).json();
    offerClip();
  } catch (error) {
    at("clip-name").textContent = "Choose a clip or picture";
    at("clip-problem").textContent = error.message;
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
    at("clip-problem").textContent = "The clip has fewer frames than this bundle needs.";
    at("clip-ask").disabled = true;
    return;
  }
  const names = isPicture ? [["Picture", 1]] : [["A", 1], ["B", state.default_keep]];
  clip.sides = names.map(([name, keep]) => new Side(name, keep));
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
  for (const side of clip.sides) await ask(side);
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

open();
