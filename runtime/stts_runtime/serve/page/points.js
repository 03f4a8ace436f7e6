// Points of answers: in words, and as circles over a picture. Text is only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["#ffdc50", "#50c8ff", "#8cff8c", "#ff8cff", "#ff966e", "#78ffff"];
const FRESH_SECONDS = 10; // a thing that moves may be anywhere after that
const MOVED_ON_SECONDS = 0.05;
const RADIUS = 11;
const LETTER = 7.2; // the width of one, at the most usual
const LINE = 18;

const TAGS = /<(points|tracks)\b[^<>]*>([^<>]*)<\/\1>/g;

// Records of answers that do not point have no points.
export const pointsOf = (answer) => answer.points ?? [];

const nameOf = (point) => (point.track === null ? point.label : `${point.label} ${point.track}`.trim());

// The text of an answer with the names of its points in place of their coordinates.
export function wordsOf(answer) {
  return pointsOf(answer).length ? answer.answer.replace(TAGS, "$2").trim() : answer.answer;
}

// One line for each point of the newest frame that any is in, and how many more there are; nothing without points.
export function placesOf(answer) {
  const points = pointsOf(answer);
  if (!points.length) return "";
  const newest = Math.max(...points.map((one) => one.seconds));
  const there = points.filter((one) => one.seconds === newest);
  const lines = there.map((one) => `${nameOf(one) || "point"} at ${share(one.x)} across, ${share(one.y)} down`);
  const earlier = points.length - there.length;
  return [...lines, ...(earlier ? [`and ${earlier} in frames before`] : [])].join("; ");
}

const share = (part) => `${Math.round(100 * part)} %`;

// Circles over `image`, which lies in `frame` with object-fit: contain, for those of an answer's points about a stream
// that are in the newest frame. `now` is the picture's moment on the stream's time line.
export function drawPoints(frame, image, all, now) {
  const svg = overlayOf(frame);
  const points = freshPoints(all, now);
  svg.toggleAttribute("hidden", !points.length);
  if (!points.length || !image.naturalWidth) return;
  const whole = { width: frame.clientWidth, height: frame.clientHeight };
  svg.setAttribute("viewBox", `0 0 ${whole.width} ${whole.height}`);
  svg.setAttribute("aria-label", points.map(({ name }) => name).join("; "));
  const box = shownBox(whole, image);
  const placed = points.map((one) => ({ ...one, x: box.left + one.x * box.width, y: box.top + one.y * box.height }));
  const taken = [...placed.map(({ x, y }) => boxAround(x, y, RADIUS + 2)), ...wordsIn(frame)];
  svg.replaceChildren(...placed.map(circle), ...placed.flatMap((one) => label(one, whole, taken)));
}

function freshPoints(points, now) {
  const newest = Math.max(...points.map((one) => one.seconds));
  const age = Math.max(now - newest, 0);
  if (age > FRESH_SECONDS) return [];
  const names = [...new Set(points.map(nameOf))];
  return points.filter((one) => one.seconds === newest).map((one) => ({
    x: one.x,
    y: one.y,
    isOld: age > MOVED_ON_SECONDS,
    name: `${nameOf(one) || "point"}${age > MOVED_ON_SECONDS ? ` ${age.toFixed(1)} s ago` : ""}`,
    colour: COLOURS[names.indexOf(nameOf(one)) % COLOURS.length],
  }));
}

function overlayOf(frame) {
  let svg = frame.querySelector("svg.points");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.classList.add("points");
    svg.setAttribute("role", "img");
    frame.append(svg);
  }
  return svg;
}

function shownBox(whole, image) {
  const scale = Math.min(whole.width / image.naturalWidth, whole.height / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return { width, height, left: (whole.width - width) / 2, top: (whole.height - height) / 2 };
}

// Where the frame has text of its own.
function wordsIn(frame) {
  return [...frame.querySelectorAll("p:not(:empty)")].map(({ offsetLeft: left, offsetTop: top, offsetWidth, offsetHeight }) =>
    ({ left, top, right: left + offsetWidth, bottom: top + offsetHeight }));
}

// A light ring on a wider dark one: one of the two shows on any ground. Dashed when the picture has moved on.
function circle({ x, y, colour, isOld }) {
  const group = made("g", {});
  group.append(
    made("circle", { cx: x, cy: y, r: RADIUS, class: "under" }),
    made("circle", { cx: x, cy: y, r: RADIUS, stroke: colour, ...(isOld ? { "stroke-dasharray": "7 4.5" } : {}) }),
  );
  return group;
}

// Beside its circle, where it covers no circle and no other name; nowhere if there is no such place.
function label({ x, y, name }, whole, taken) {
  const width = name.length * LETTER + 8;
  const away = RADIUS + 5;
  const columns = [x + away, x - away - width, x - width / 2];
  const rows = [y - LINE / 2, y - away - LINE, y + away];
  for (const [column, row] of [[0, 0], [1, 0], [2, 1], [2, 2], [0, 1], [1, 1], [0, 2], [1, 2]]) {
    const place = { left: columns[column], top: rows[row], right: columns[column] + width, bottom: rows[row] + LINE };
    const isInside = place.left >= 0 && place.top >= 0 && place.right <= whole.width && place.bottom <= whole.height;
    if (!isInside || taken.some((other) => meet(place, other))) continue;
    taken.push(place);
    const text = made("text", { x: place.left + width / 2, y: place.top + LINE / 2 });
    text.textContent = name;
    return [made("rect", { x: place.left, y: place.top, width, height: LINE, rx: 4 }), text];
  }
  return [];
}

const boxAround = (x, y, reach) => ({ left: x - reach, top: y - reach, right: x + reach, bottom: y + reach });

const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

function made(kind, attributes) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
