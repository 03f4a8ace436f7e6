// What is known of the sources. Views of a source are told when it looked, answered or changed.

import { Alarms } from "./alarms.js";

const HELD_LOOKS = 120;
const HELD_ANSWERS = 20; // to each question

export const streams = new Map();

export class Stream {
  constructor(name) {
    this.name = name;
    this.views = new Set();
    this.aspect = null;
    this.alarms = new Alarms();
    this.talk = []; // what was asked by hand from this page, and what was answered
  }

  fill(record) {
    const { source, box, group, questions, asks_above, looks, answers } = record;
    Object.assign(this, { source, box, group, looks });
    this.asksAbove = asks_above;
    this.seen = record.looked_seconds_ago === null ? null : performance.now() - 1000 * record.looked_seconds_ago;
    this.answers = new Map(questions.map((question) => [question, []]));
    record.alarms.forEach((answer) => this.alarms.raised(answer));
    answers.forEach((answer) => this.note(answer));
    record.clips.forEach((clip) => this.alarms.clipped(clip));
    this.become(record.state, record.reason, record.since_seconds);
    this.tell("filled");
  }

  become(state, reason, sinceSeconds = 0) {
    Object.assign(this, { state, reason });
    this.since = performance.now() - 1000 * sinceSeconds;
    this.tell("changed");
  }

  look(record) {
    if (record.number <= (this.newestLook?.number ?? 0)) return; // the state had it
    this.looks.push(record);
    if (this.looks.length > HELD_LOOKS) this.looks.shift();
    this.seen = performance.now();
    this.tell("looked");
  }

  answer(record) {
    this.note(record);
    this.tell("answered");
  }

  clip(record) {
    this.alarms.clipped(record);
    this.tell("answered");
  }

  note(record) {
    if (!this.answers.has(record.question)) this.answers.set(record.question, []);
    const held = this.answers.get(record.question);
    if (record.number <= (held.at(-1)?.number ?? 0)) return; // the state had it
    held.push(record);
    this.alarms.raised(record);
    if (held.length > HELD_ANSWERS) held.shift();
  }

  // Width by height of its pictures.
  hasAspect(aspect) {
    if (this.aspect === aspect) return;
    this.aspect = aspect;
    this.tell("sized");
  }

  // The newest answer to each question that has one.
  get newestAnswers() {
    return [...this.answers.values()].filter((held) => held.length).map((held) => held.at(-1));
  }

  get newestLook() {
    return this.looks.at(-1);
  }

  get isLive() {
    return this.state === "live";
  }

  get isAlarmed() {
    return this.newestAnswers.some((answer) => answer.alert?.on);
  }

  get secondsUnseen() {
    return this.seen === null ? Infinity : (performance.now() - this.seen) / 1000;
  }

  get secondsInState() {
    return (performance.now() - this.since) / 1000;
  }

  tell(what) {
    for (const view of this.views) view[what]?.();
  }
}

// Takes the server's list, in its order.
export function fillStreams(records) {
  const before = new Map(streams);
  streams.clear();
  for (const record of records) {
    const stream = before.get(record.name) ?? new Stream(record.name);
    streams.set(record.name, stream);
    stream.fill(record);
    before.delete(record.name);
  }
  before.forEach((gone) => gone.tell("gone"));
}
