// The enlarged view of one source over the page. The page's address names it, so that it can be linked to and left with
// "back".

import { Closeup } from "./closeup.js";
import { streams } from "./streams.js";

const MARK = "#camera=";
const dialog = document.getElementById("over");
let open = null;

export const hrefOf = ({ name }) => `${MARK}${encodeURIComponent(name)}`;

function enter(stream) {
  open?.remove();
  open = new Closeup(stream);
  dialog.querySelector(".place").replaceChildren(open.node);
  dialog.setAttribute("aria-label", stream.name);
  if (!dialog.open) dialog.showModal();
}

function leave() {
  dialog.close();
}

// Opens or closes what the address says.
export function followAddress() {
  const { hash } = location;
  const name = hash.startsWith(MARK) ? decodeURIComponent(hash.slice(MARK.length)) : null;
  const stream = streams.size > 1 ? streams.get(name) : undefined;
  if (stream && open?.stream !== stream) enter(stream);
  if (!stream && open) leave();
}

// The source before or after the one that is open, in the order of the page.
function turn(by) {
  const order = [...document.querySelectorAll(".card, .row")].map((node) => node.dataset.stream);
  const place = order.indexOf(open.stream.name) + by;
  const stream = streams.get(order[(place + order.length) % order.length]);
  if (stream) history.replaceState(null, "", hrefOf(stream));
  followAddress();
}

dialog.addEventListener("close", () => {
  const { name } = open.stream;
  open.remove();
  open = null;
  if (location.hash.startsWith(MARK)) history.replaceState(null, "", location.pathname + location.search);
  document.querySelector(`[data-stream="${CSS.escape(name)}"] a`)?.focus();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) leave(); // beside it
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
dialog.querySelector(".leave").addEventListener("click", leave);
dialog.querySelector(".before").addEventListener("click", () => turn(-1));
dialog.querySelector(".after").addEventListener("click", () => turn(1));
addEventListener("hashchange", followAddress);
