// Alarms with their pictures and clips, which the server keeps for a while.

import { made, spoken } from "./answers.js";
import { call } from "./server.js";
import { moment } from "./times.js";

const HELD = 20;

// By the stream, newest first: what was raised, and the clip of it once there is one.
export class Alarms {
  constructor() {
    this.list = [];
  }

  raised(answer) {
    const { alert, question } = answer;
    if (alert?.change !== "raised" || this.find(question, alert.number)) return;
    this.list.unshift({ question, number: alert.number, answer, picture: alert.snapshot?.url, clip: null });
    this.list.length = Math.min(this.list.length, HELD);
  }

  clipped({ question, number, clip }) {
    const alarm = this.find(question, number);
    if (alarm) alarm.clip = clip?.url;
  }

  find(question, number) {
    return this.list.find((one) => one.question === question && one.number === number);
  }
}

// The newest picture of an alarm that is still on.
export const pictureOf = (stream) =>
  stream.isAlarmed ? stream.alarms.list.find(({ picture, question }) => picture && stream.answers.get(question)?.at(-1)?.alert?.on) : null;

// An image of the alarm; one that was fetched is not fetched again.
export function thumbnail(alarm) {
  const image = made("img", "snapshot");
  image.alt = `when the alarm was raised: ${alarm.question}`;
  alarm.image ??= fetched(alarm.picture);
  alarm.image.then((address) => (image.src = address), () => image.remove());
  return image;
}

// A proxy may show the server below any path, and an image of its own request would have no token.
async function fetched(url) {
  const [stream, name] = url.split("/").slice(-2);
  const reply = await call(`api/alerts/${stream}/${name}`);
  return URL.createObjectURL(await reply.blob());
}

export function alarmItem(alarm) {
  const words = made("p", "answer", made("span", "words", spoken(alarm.answer)), " ", moment(alarm.answer.created));
  const item = made("li", "alarm-item", made("div", "", made("p", "asked", alarm.question), words));
  if (alarm.picture) item.prepend(thumbnail(alarm));
  if (alarm.clip) item.append(clipButton(alarm, item));
  return item;
}

function clipButton(alarm, item) {
  const button = made("button", "quiet", "Clip");
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    const video = made("video", "");
    Object.assign(video, { controls: true, autoplay: true, muted: true });
    try {
      video.src = await fetched(alarm.clip);
      button.replaceWith(video);
    } catch (error) {
      button.replaceWith(made("p", "bad", error.message));
    }
  });
  return button;
}
