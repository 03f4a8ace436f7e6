// All sources at a glance: which are cards and which rows, in what order, and which the filter lets through.

import { Card, Row } from "./card.js";
import { Closeup } from "./closeup.js";
import { setChildren } from "./nodes.js";
import { followAddress } from "./over.js";
import { streams } from "./streams.js";

const at = (id) => document.getElementById(id);
const MANY = 6; // from here on cards are small, and there is a filter
const CARD_SECONDS = 600; // so long after its last picture a source is still a card
const NARROWEST = { few: 20 * 15, many: 15.4 * 15 }; // pixels of a card
const GAP = 14;
const SETTLING_MS = 700; // changes of state come in twos and threes
const ORDER = ["refused", "stalled", "reconnecting", "connecting", "ended"];

const shown = new Map(); // by name: Card or Row
let single = null;
let arranging = null;

const deservesCard = (stream) => stream.isLive || stream.secondsUnseen < CARD_SECONDS;

const kinds = {
  all: () => true,
  live: (stream) => stream.isLive,
  alarm: (stream) => stream.isAlarmed,
  away: (stream) => !stream.isLive,
};

export function showWall() {
  at("live").toggleAttribute("data-one", streams.size === 1);
  at("live").toggleAttribute("data-many", streams.size >= MANY);
  at("no-sources").hidden = streams.size > 0;
  at("filter").hidden = streams.size < MANY;
  offerGroups();
  for (const stream of streams.values()) stream.views.add(overseer);
  showSingle();
  arrange();
  followAddress();
}

// Told by every source.
const overseer = {
  changed: () => arrangeSoon(),
  sized: () => arrangeSoon(),
  answered: () => {
    if (alarmsAreOthers()) arrangeSoon();
  },
};

function arrangeSoon() {
  arranging ??= setTimeout(arrange, SETTLING_MS);
}

let alarms = "";

function alarmsAreOthers() {
  const now = [...streams.values()].filter((one) => one.isAlarmed).map((one) => one.name);
  if (now.join() === alarms) return false;
  const before = alarms.split(",");
  at("alarms").textContent = now.filter((name) => !before.includes(name)).map((name) => `Alarm: ${name}`).join(", ");
  alarms = now.join();
  return true;
}

function showSingle() {
  const [stream] = streams.size === 1 ? streams.values() : [];
  if (single?.stream === stream) return;
  single?.remove();
  single = stream ? new Closeup(stream) : null;
  if (single) at("single").replaceChildren(single.node);
}

function offerGroups() {
  const groups = [...new Set([...streams.values()].map((one) => one.group).filter(Boolean))].sort();
  const chosen = at("filter-group").value;
  at("filter-group").replaceChildren(new Option("All groups", ""), ...groups.map((one) => new Option(one, one, false, one === chosen)));
  at("filter-group").hidden = groups.length < 2;
}

function arrange() {
  clearTimeout(arranging);
  arranging = null;
  alarmsAreOthers();
  count();
  const passed = streams.size === 1 ? [] : [...streams.values()].filter(passes);
  const cards = passed.filter(deservesCard).sort((a, b) => urgency(a) - urgency(b));
  const rows = passed.filter((one) => !deservesCard(one)).sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const wanted = new Map([...cards.map((one) => [one, Card]), ...rows.map((one) => [one, Row])]);
  for (const [name, view] of shown) {
    if (wanted.get(view.stream) === view.constructor) continue;
    view.remove();
    shown.delete(name);
  }
  place(at("cards"), cards, Card);
  place(at("rows"), rows, Row);
  at("away").hidden = !rows.length;
  at("away-count").textContent = rows.length;
  at("nothing-passes").hidden = passed.length > 0 || streams.size < 2;
  layOut();
}

// Alarms first, then what failed, then what is live; each in the server's order.
const urgency = (stream) => (stream.isAlarmed ? 0 : stream.isLive ? 2 : 1);

function place(parent, list, View) {
  for (const stream of list) if (!shown.has(stream.name)) shown.set(stream.name, new View(stream, streams.size >= MANY));
  setChildren(parent, list.map(({ name }) => shown.get(name).node));
}

function passes(stream) {
  const words = at("filter-name").value.trim().toLowerCase();
  const group = at("filter-group").value;
  const kind = at("filter").elements.kind.value;
  const isNamed = `${stream.name} ${stream.group ?? ""}`.toLowerCase().includes(words);
  return isNamed && (!group || stream.group === group) && kinds[kind](stream);
}

function count() {
  const all = [...streams.values()];
  for (const [kind, includes] of Object.entries(kinds)) {
    at(`count-${kind}`).textContent = all.filter(includes).length;
  }
  const alarmed = all.filter(kinds.alarm).length;
  const live = all.filter(kinds.live).length;
  const away = ORDER.map((state) => [all.filter((one) => one.state === state).length, state]).filter(([often]) => often);
  const words = [`${live} of ${all.length} live`, ...away.map((one) => one.join(" "))];
  if (alarmed) words.push(`${alarmed} with an alarm`);
  at("counts").textContent = all.length ? words.join(", ") : "";
}

// All cards have the proportions that most of the pictures have, so that a row is a row; the others get bars.
function commonAspect() {
  const counts = new Map();
  for (const { aspect } of streams.values()) if (aspect) counts.set(aspect, (counts.get(aspect) ?? 0) + 1);
  const [most] = [...counts].sort(([a, often], [b, other]) => other - often || b - a);
  return most?.[0] ?? 16 / 9;
}

// As many columns as fit, and no more than fill the last row as well as the rows before it.
function layOut() {
  at("cards").style.setProperty("--common", commonAspect());
  const number = at("cards").children.length;
  const isWall = document.body.hasAttribute("data-wall");
  at("cards").style.setProperty("--columns", isWall ? columnsOfWall(number) : columnsOfPage(number));
}

function columnsOfPage(number) {
  const narrowest = streams.size >= MANY ? NARROWEST.many : NARROWEST.few;
  const most = Math.max(1, Math.floor((at("cards").clientWidth + GAP) / (narrowest + GAP)));
  if (number <= most) return Math.max(1, number);
  return Math.ceil(number / Math.ceil(number / most));
}

// Those with which pictures of 16:9 are largest.
function columnsOfWall(number) {
  const { clientWidth: width, clientHeight: height } = at("cards");
  const sizeOf = (columns) => Math.min(width / columns, ((height / Math.ceil(number / columns)) * 16) / 9);
  const choices = Array.from({ length: Math.max(1, number) }, (_, one) => one + 1);
  return choices.reduce((best, one) => (sizeOf(one) > sizeOf(best) ? one : best));
}

async function setWall(isWall) {
  document.body.toggleAttribute("data-wall", isWall);
  try {
    if (isWall) await document.documentElement.requestFullscreen();
    else if (document.fullscreenElement) await document.exitFullscreen();
  } catch {
    // A browser that will not fill the screen fills its window.
  }
  layOut();
}

// A monitor that starts by itself opens the page so; only a person may fill the screen.
document.body.toggleAttribute("data-wall", location.hash === "#wall");
at("to-wall").addEventListener("click", () => setWall(true));
at("from-wall").addEventListener("click", () => setWall(false));
document.addEventListener("fullscreenchange", () => {
  if (!document.fullscreenElement) setWall(false);
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !at("over").open && document.body.hasAttribute("data-wall")) setWall(false);
});
at("filter").addEventListener("input", arrange);
at("filter").addEventListener("submit", (event) => event.preventDefault());
new ResizeObserver(layOut).observe(at("cards"));
setInterval(() => {
  const aged = [...shown.values()].some((view) => view instanceof Card !== deservesCard(view.stream));
  if (aged) arrange();
  for (const view of shown.values()) if (view instanceof Row) view.showAge();
}, 5000);
