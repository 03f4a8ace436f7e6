// Speaking with the server: requests with the token, the form that asks for it, and the stream of events.

const at = (id) => document.getElementById(id);

export class Refused extends Error {}

// Paths are relative: the page may be shown below any path by a proxy.
export async function call(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const reply = await fetch(path, { ...options, headers, cache: "no-store" });
  if (reply.status === 401) askForToken(token !== null);
  if (!reply.ok) throw new Refused(await reasonOf(reply));
  return reply;
}

export const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

async function reasonOf(reply) {
  try {
    return (await reply.json()).error.message;
  } catch {
    return `the server answered ${reply.status}`;
  }
}

function askForToken(wasWrong) {
  at("token-form").hidden = false;
  at("main").hidden = true;
  at("token-wrong").textContent = wasWrong ? "That token was refused." : "";
  sessionStorage.removeItem("token");
}

// Follows the server for as long as the page is open. `show` brings the whole state, at the first connection and at each
// one after it; `heard` has a function for each kind of event, which may tell what that state has already.
export function follow(show, heard) {
  at("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", at("token").value.trim());
    at("token").value = "";
    at("token-form").hidden = true;
    connect(show, heard);
  });
  connect(show, heard);
}

async function connect(show, heard) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      const events = await call("api/events");
      await show();
      say("live", "connected");
      pause = 500;
      await read(events, heard);
    } catch (error) {
      if (!at("token-form").hidden) return;
      if (!(error instanceof Refused || error instanceof TypeError)) console.error(error);
    }
    say("reconnecting", "not connected, trying again");
    await new Promise((done) => setTimeout(done, pause));
  }
}

// Read by hand, since EventSource cannot show a token.
async function read(events, heard) {
  const reader = events.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const { event, data } = fieldsOf(block);
      heard[event]?.(JSON.parse(data));
    }
  }
}

const fieldsOf = (block) => Object.fromEntries(block.split("\n").map((line) => {
  const [name, ...value] = line.split(": ");
  return [name, value.join(": ")];
}));

function say(kind, words) {
  at("connection").dataset.state = kind;
  at("connection").textContent = words;
}
