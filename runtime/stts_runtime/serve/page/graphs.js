// Novelty and lag of the last looks as two small graphs, each with its scale; a dashed line is where questions are asked.

const SVG = "http://www.w3.org/2000/svg";
const SHORTEST = 30;
const LOWEST_TOP_MS = 50;

export function showGraphs(node, stream) {
  const { looks, newestLook: newest, asksAbove } = stream;
  node.hidden = !newest;
  if (!newest) return;
  const lags = looks.map((one) => one.lag_ms);
  const top = roundTop(Math.max(LOWEST_TOP_MS, ...lags));
  tell(node, "novelty", newest.novelty.toFixed(2), "1", "0");
  tell(node, "lag", inWords(newest.lag_ms), inWords(top), "0");
  const asks = asksAbove === null ? "" : `, asked above ${asksAbove} (dashed)`;
  const novelties = looks.map((one) => one.novelty);
  draw(node.querySelector(".novelty"), novelties, 1, asksAbove, `novelty of the last looks, 0 to 1${asks}`);
  draw(node.querySelector(".lag"), lags, top, null, `age of frames when they had been looked at, 0 to ${inWords(top)}`);
  const span = Math.round(newest.seconds - looks[0].seconds);
  node.querySelector(".span").textContent = `the last ${span} s${asks}`;
}

function tell(node, name, now, high, low) {
  node.querySelector(`.${name}-now`).textContent = now;
  const place = node.querySelector(`.${name}`);
  place.dataset.high = high;
  place.dataset.low = low;
}

const inWords = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(1))} s`);

// 1, 2 or 5 times a power of ten.
function roundTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= value);
}

function draw(place, values, most, threshold, words) {
  const svg = place.querySelector("svg") ?? place.appendChild(empty());
  svg.setAttribute("aria-label", words);
  const length = Math.max(SHORTEST, values.length);
  svg.setAttribute("viewBox", `0 0 ${length - 1} 100`);
  const first = length - values.length;
  const height = (value) => 100 - Math.min(1, value / most) * 100;
  const points = values.map((value, place) => `${first + place} ${height(value)}`);
  const [line, level] = svg.children;
  line.setAttribute("d", `M${points.join("L")}`);
  level.setAttribute("d", threshold === null ? "" : `M0 ${height(threshold)}H${length - 1}`);
}

function empty() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  for (const name of ["values", "level"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}
