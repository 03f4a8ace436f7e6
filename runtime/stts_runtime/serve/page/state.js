// How a source is doing: its state as a word, and the reason if it is not live.

export function showState(node, { state, reason, isLive }) {
  node.dataset.state = state;
  const pill = node.querySelector(".pill");
  pill.dataset.state = pill.textContent = state;
  node.querySelector(".reason").textContent = isLive ? "" : reason;
}
