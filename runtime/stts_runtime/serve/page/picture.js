// The newest picture of a source in a frame: fetched while it can be seen, a few at a time, with what is written on it.

import { drawPoints, pointsOf } from "./points.js";
import { call } from "./server.js";
import { duration } from "./times.js";

const AT_ONCE = 4; // browsers open six connections to a server, and the events keep one
const OLD_SECONDS = 3;
const FLATTEST = 2.6; // width by height; beyond that a picture has bars
const TALLEST = 0.75;
const HOW = {
  kept: "what was dropped is veiled",
  scores: "coloured by score, yellow is high",
  plain: "as it came",
};

const shown = new Map(); // by the frame
let view = "kept";

export class LivePicture {
  constructor(stream, frame, size) {
    Object.assign(this, { stream, frame, size });
    this.image = frame.querySelector("img");
    this.number = 0; // of the look whose picture is shown
    this.fetching = this.visible = false;
    shown.set(frame, this);
    watcher.observe(frame);
  }

  stop() {
    watcher.unobserve(this.frame);
    shown.delete(this.frame);
    waiting.delete(this);
    this.visible = false;
    URL.revokeObjectURL(this.image.src);
  }

  // A server that was started anew counts from 1.
  recount() {
    if ((this.stream.newestLook?.number ?? 0) < this.number) this.number = 0;
  }

  fetch() {
    const newest = this.stream.newestLook;
    const isDue = newest && (this.number < newest.number || this.view !== view);
    if (!isDue || !this.visible || this.fetching || document.hidden) return;
    waiting.add(this);
    next();
  }

  async load() {
    const wanted = view;
    const address = `api/streams/${encodeURIComponent(this.stream.name)}/picture?view=${wanted}&size=${this.size}`;
    const reply = await call(address);
    const before = this.image.src;
    this.image.src = URL.createObjectURL(await reply.blob());
    await this.image.decode();
    if (before) URL.revokeObjectURL(before);
    this.number = Number(reply.headers.get("X-Stts-Number"));
    this.view = wanted;
    this.describe();
  }

  describe() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    this.stream.hasAspect(Math.min(FLATTEST, Math.max(TALLEST, width / height)));
    this.frame.style.setProperty("--aspect", this.stream.aspect);
    this.image.hidden = false;
    this.image.dataset.number = this.number;
    this.image.dataset.view = this.view;
    this.image.alt = `${this.stream.name}: the newest picture, ${HOW[this.view]}`;
    this.part(".blank").textContent = "";
    const look = this.look;
    this.part(".kept").textContent = look ? (look.is_key ? "key frame, all kept" : `${look.kept} of ${look.groups} kept`) : "";
    this.showPoints();
  }

  get look() {
    return this.stream.looks.find((one) => one.number === this.number);
  }

  showPoints() {
    const look = this.look;
    const answers = this.stream.newestAnswers;
    const newest = Math.max(...answers.map((one) => one.times_seconds.at(-1)));
    // Several questions share a window.
    const pointing = answers.filter((one) => one.times_seconds.at(-1) === newest);
    drawPoints(this.frame, this.image, look ? pointing.flatMap(pointsOf) : [], look?.seconds);
  }

  showAge() {
    const { stream } = this;
    const isOld = this.number > 0 && stream.secondsUnseen > OLD_SECONDS;
    this.frame.classList.toggle("old", isOld);
    this.part(".age").textContent = isOld ? `last picture ${duration(stream.secondsUnseen)} ago` : "";
    if (!this.number) this.part(".blank").textContent = stream.state === "refused" ? "no picture" : "no picture yet";
  }

  part(selector) {
    return this.frame.querySelector(selector);
  }
}

// The one that waited longest comes first.
const waiting = new Set();
let open = 0;

async function next() {
  if (open >= AT_ONCE || !waiting.size) return;
  const [picture] = waiting;
  waiting.delete(picture);
  picture.fetching = true;
  open += 1;
  try {
    await picture.load();
  } catch {
    // The next look asks again.
  } finally {
    picture.fetching = false;
    open -= 1;
    picture.fetch();
    next();
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const picture = shown.get(target);
    if (!picture) continue;
    picture.visible = isIntersecting;
    picture.fetch();
  }
}, { rootMargin: "200px" });

const fetchAll = () => shown.forEach((picture) => picture.fetch());

export function setView(name) {
  view = name;
  document.documentElement.dataset.view = name;
  fetchAll();
}

setInterval(() => shown.forEach((picture) => picture.showAge()), 1000);
addEventListener("resize", () => shown.forEach((picture) => picture.showPoints()));
document.addEventListener("visibilitychange", fetchAll);
