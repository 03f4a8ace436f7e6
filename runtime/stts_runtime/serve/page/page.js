// The live page: what the server says goes to the sources and to the clip form. Text of streams, models and users is only
// ever set as text, never as markup.

import { showClipForm } from "./clip.js";
import { offerSearch } from "./search.js";
import { call, follow } from "./server.js";
import { fillStreams, streams } from "./streams.js";
import { freshen, setClock } from "./times.js";
import { viewSwitch } from "./views.js";
import { showWall } from "./wall.js";

const at = (id) => document.getElementById(id);

async function show() {
  const reply = await call("api/state");
  const state = await reply.json();
  setClock(reply);
  at("main").hidden = false;
  at("bundle").textContent = state.bundle;
  document.title = `stts live: ${state.bundle}`;
  at("noise").hidden = !state.random_weights;
  at("untrained").hidden = state.scorer === null || state.scorer.trained;
  at("live").toggleAttribute("data-none", state.streams.length === 0);
  at("to-wall").hidden = state.streams.length === 0;
  fillStreams(state.streams);
  showWall();
  showClipForm(state);
  if (state.searches) offerSearch(call);
}

at("view-place").append(viewSwitch());
at("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const { theme } = root.dataset;
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
setInterval(freshen, 1000);

const CATCHING_UP_MS = 5000;
let catchingUp = null;

follow(show, {
  missed: () => {
    catchingUp ??= setTimeout(() => {
      catchingUp = null;
      show().catch(() => {}); // the next connection shows it
    }, CATCHING_UP_MS);
  },
  look: (record) => streams.get(record.stream)?.look(record),
  answer: (record) => streams.get(record.stream)?.answer(record),
  clip: (record) => streams.get(record.stream)?.clip(record),
  state: (record) => streams.get(record.stream)?.become(record.state, record.reason),
});
