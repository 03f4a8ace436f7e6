// Pictures and clips of alarms: files that the server keeps for a while.

import { made } from "./nodes.js";
import { call } from "./server.js";

const nameOf = (url) => url.split("/").at(-1);

// Its address in this page. A proxy may show the server below any path, and an image of its own request would have no token.
export async function fetched(url) {
  const stream = url.split("/").at(-2);
  const reply = await call(`api/alerts/${stream}/${nameOf(url)}`);
  return URL.createObjectURL(await reply.blob());
}

// Clips are as the camera sends them, which not every browser can play.
export function player(address, url) {
  const video = made("video", "");
  Object.assign(video, { controls: true, autoplay: true, muted: true, src: address });
  video.addEventListener("loadedmetadata", () => video.scrollIntoView({ block: "nearest" }));
  video.addEventListener("error", () => {
    const link = made("a", "", "save it");
    Object.assign(link, { href: address, download: nameOf(url) });
    video.replaceWith(made("p", "unplayable dim", "This browser cannot play the clip: ", link, "."));
  });
  return video;
}
