// Alarms with their pictures and clips, which the server keeps for a while.

import { spoken } from "./answers.js";
import { fetched, player } from "./evidence.js";
import { made } from "./nodes.js";
import { moment } from "./times.js";

const HELD = 20;

class Alarm {
  constructor(answer) {
    this.answer = answer;
    this.picture = answer.alert.snapshot?.url;
    this.clip = null;
    this.addresses = []; // of what was fetched
  }

  isOf({ question, number }) {
    return this.answer.question === question && this.answer.alert.number === number;
  }

  async fetched(url) {
    const address = await fetched(url);
    this.addresses.push(address);
    return address;
  }

  forget() {
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
  }
}

// By the stream, newest first: what was raised, and the clip of it once there is one.
export class Alarms {
  constructor() {
    this.list = [];
  }

  raised(answer) {
    if (answer.alert?.change !== "raised") return;
    // Numbers begin anew with the server.
    if (this.list.some((one) => one.answer.created === answer.created && one.answer.number === answer.number)) return;
    this.list.push(new Alarm(answer));
    this.list.sort((one, other) => Date.parse(other.answer.created) - Date.parse(one.answer.created));
    this.list.splice(HELD).forEach((gone) => gone.forget());
  }

  clipped(record) {
    const alarm = this.list.find((one) => one.isOf(record));
    if (alarm) alarm.clip = record.clip?.url;
  }
}

// The newest picture of an alarm that is still on.
export const pictureOf = (stream) =>
  stream.isAlarmed ? stream.alarms.list.find(({ picture, answer }) => picture && stream.answers.get(answer.question)?.at(-1)?.alert?.on) : null;

// An image of the alarm; one that was fetched is not fetched again.
export function thumbnail(alarm) {
  const image = made("img", "snapshot");
  image.alt = `when the alarm was raised: ${alarm.answer.question}`;
  alarm.image ??= alarm.fetched(alarm.picture);
  alarm.image.then((address) => (image.src = address), () => image.remove());
  return image;
}

// The same each time: its clip may be playing.
export function alarmItem(alarm) {
  alarm.item ??= newItem(alarm);
  if (alarm.clip && !alarm.button) {
    alarm.button = clipButton(alarm);
    alarm.item.append(alarm.button);
  }
  return alarm.item;
}

function newItem(alarm) {
  const { answer } = alarm;
  const words = made("p", "answer", made("span", "words", spoken(answer)), " ", moment(answer.created));
  const item = made("li", "alarm-item", made("div", "", made("p", "asked", answer.question), words));
  if (alarm.picture) item.prepend(thumbnail(alarm));
  return item;
}

function clipButton(alarm) {
  const button = made("button", "quiet", "Clip");
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      button.replaceWith(player(await alarm.fetched(alarm.clip), alarm.clip));
    } catch (error) {
      button.replaceWith(made("p", "bad", error.message));
    }
  });
  return button;
}
