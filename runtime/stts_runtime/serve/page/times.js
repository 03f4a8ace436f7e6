// Moments and ages as people read them.

let ahead = 0; // of the server's clock, which stamps the records: ours minus its own, in milliseconds

const HALF_A_SECOND = 500; // the header has whole seconds

export function setClock(reply) {
  const theirs = Date.parse(reply.headers.get("Date") ?? "");
  ahead = Number.isNaN(theirs) ? 0 : Date.now() - theirs - HALF_A_SECOND;
}

export const secondsSince = (iso) => Math.max(0, (Date.now() - ahead - Date.parse(iso)) / 1000);

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// The time of the day; the date too when it is another one. The whole of it, with the zone, on pointing at it.
export function moment(iso) {
  const when = new Date(iso);
  const node = document.createElement("time");
  const isToday = when.toDateString() === new Date().toDateString();
  node.dateTime = iso;
  node.textContent = isToday ? when.toLocaleTimeString() : when.toLocaleString();
  node.title = inFull(when);
  return node;
}

// Like `moment`, but how long ago; `freshen` keeps it right.
export function age(iso) {
  const node = document.createElement("time");
  node.dateTime = iso;
  node.dataset.age = "";
  node.title = inFull(new Date(iso));
  tell(node);
  return node;
}

const inFull = (when) => when.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });

function tell(node) {
  const seconds = secondsSince(node.dateTime);
  node.textContent = seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

export const freshen = () => document.querySelectorAll("time[data-age]").forEach(tell);
