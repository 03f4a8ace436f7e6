// A search box over what was seen. `call` is a request with the token; the section stays hidden where nothing is kept.

import { fetched, player } from "./evidence.js";
import { made } from "./nodes.js";

const at = (id) => document.getElementById(id);
const PAGE = 50;
const DAY = 86400000;
let request = null;
let asked = null;

export async function offerSearch(call) {
  const offered = request !== null;
  request = call;
  if (offered) return;
  at("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  at("search-more").addEventListener("click", () => find(at("found").lastElementChild.dataset.number));
  try {
    nameStreams((await ask({ limit: 1 })).streams);
    at("search").hidden = false;
  } catch {
    // No archive, or none that can be read: there is nothing to offer.
  }
}

async function ask(wanted) {
  const given = Object.entries(wanted).filter(([, value]) => value !== "");
  return (await request(`api/search?${new URLSearchParams(given)}`)).json();
}

// Without `before` a new search; with it the next part of the one that is shown.
async function find(before = "") {
  if (!before) asked = { q: at("search-words").value.trim(), stream: at("search-stream").value, since: begin() };
  try {
    const reply = await ask({ ...asked, before, limit: PAGE });
    if (!before) at("found").replaceChildren();
    at("found").append(...reply.records.map(line));
    at("search-more").hidden = !reply.more;
    const count = at("found").childElementCount;
    const words = count ? `${count} record${count > 1 ? "s" : ""}${reply.more ? ", and there are more" : ""}` : "nothing found";
    at("search-note").textContent = [words, ...reply.notes].join("; ");
    at("search-note").classList.remove("bad");
    nameStreams(reply.streams);
  } catch (error) {
    at("search-note").textContent = error.message;
    at("search-note").classList.add("bad");
  }
}

// In the zone of whoever looks, which may be another than the server's.
function begin() {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const times = { hour: Date.now() - DAY / 24, today: midnight, yesterday: new Date(midnight - DAY / 2).setHours(0, 0, 0, 0), week: Date.now() - 7 * DAY };
  const chosen = times[at("search-since").value];
  return chosen === undefined ? "" : new Date(chosen).toISOString();
}

function nameStreams(names) {
  const known = new Set([...at("search-stream").options].map((option) => option.value));
  for (const name of names) if (!known.has(name)) at("search-stream").add(new Option(name, name));
}

function line({ number, record }) {
  const item = made("li", "");
  item.dataset.number = number;
  const when = made("time", "", new Date(record.created).toLocaleString());
  when.dateTime = record.created;
  const place = [record.site, record.host, record.stream].filter(Boolean).join(" ");
  item.append(when, made("b", "", place));
  const words = said(record);
  if (words) item.append(made("span", "", words));
  if (record.question) item.append(made("span", "dim", record.question));
  item.append(...links(record).map(({ name, url }) => (/^http/.test(url) ? link(name, url) : opener(name, url))));
  return item;
}

function link(name, url) {
  const node = made("a", "", name);
  return Object.assign(node, { href: url, target: "_blank", rel: "noopener" });
}

// Of a file that this server keeps.
function opener(name, url) {
  const button = Object.assign(made("button", "quiet", name), { type: "button" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      button.replaceWith(shown(name, url, await fetched(url)));
    } catch (error) {
      button.replaceWith(made("span", "bad", error.message));
    }
  });
  return button;
}

function shown(name, url, address) {
  if (name === "clip") return player(address, url);
  return Object.assign(made("img", "snapshot"), { src: address, alt: "when the alarm was raised" });
}

function said({ state, reason, answer, alert }) {
  if (state) return `${state}: ${reason}`;
  return `${alert?.change ? `alarm ${alert.change} (${alert.rule}): ` : ""}${answer ?? reason ?? ""}`;
}

// Pictures and clips of alarms, where they can be fetched.
const links = (record) => Object.entries({ ...record, ...record.alert })
  .filter(([, part]) => /^(https?:\/\/|\/|api\/)/.test(part?.url ?? ""))
  .map(([name, part]) => ({ name, url: part.url }));
