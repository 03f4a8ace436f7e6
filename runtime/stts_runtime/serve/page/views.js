// What the pictures show: what was kept, scores, or nothing but the picture. Every switch on the page says the same.

import { setView } from "./picture.js";

const template = document.getElementById("views");
let made = 0;

export function viewSwitch() {
  const node = template.content.firstElementChild.cloneNode(true);
  made += 1;
  for (const input of node.querySelectorAll("input")) input.name = `view-${made}`;
  check(node, document.documentElement.dataset.view);
  node.addEventListener("change", (event) => {
    setView(event.target.value);
    document.querySelectorAll(".view-switch").forEach((one) => check(one, event.target.value));
  });
  return node;
}

function check(node, view) {
  node.querySelector(`input[value="${view}"]`).checked = true;
}
