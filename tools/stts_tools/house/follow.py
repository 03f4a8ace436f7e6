"""Follows one frame or one chat request through a program that has been running for a while: a process of its own.

`python -m stts_tools.house.follow frame OUT ROOT BUNDLE SOURCE` and `... chat OUT ROOT BUNDLE CLIP OTHER_CLIP` run
`stts-runtime stream` and `serve` with the tracer, and write to OUT, in JSON, what `Followed` holds.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from stts_tools.house.payloads import Payloads, Wrapping, wrappings
from stts_tools.house.sources import PACKAGES, PARTS
from stts_tools.house.tracer import Trace, Tracer

QUESTION = "What colour is the vehicle that moves?"
PERIOD_SECONDS = 1.0
"""Between two frames of the camera: long after the first has been answered about comes the next."""
_ANSWERS_BEFORE = 4
"""Answers to wait for, so that the frame that is followed is not among the first."""
_SETTLING_SECONDS = 0.3
"""For what still runs for an answer when it has been heard: acknowledgements, metrics."""
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Followed:
    answer: str
    files: dict[str, str]
    """File and the function that was entered first, in order."""
    made: int
    """Objects of the project's classes, whatever they hold."""
    wrapped: list[Wrapping]


def follow_frame(root: Path, bundle: Path, source: str) -> Followed:
    """From the moment before it arrives to the moment when a webhook has the answer about it."""
    tracer = _installed(root)
    found: list[tuple[Trace, dict[str, Any]]] = []
    with _webhook(_FrameWatch(tracer, found.append).heard) as port:
        hook = f"http://127.0.0.1:{port}/hook"
        _run("stream", str(bundle), source, "--ask", QUESTION, "--frames", "2", "--max-tokens", "16", "--to", hook)
    trace, record = found[0]
    return _followed(trace, Payloads(bundle, [record["answer"]], []), record["answer"])


def follow_chat(root: Path, bundle: Path, clip: Path, other_clip: Path) -> Followed:
    """From the moment before it is sent until the server is done with it, after `[DONE]`: what it counts comes then.
    A request about another clip goes before.
    """
    tracer, port = _installed(root), _free_port()
    found: Future[tuple[Trace, list[str]]] = Future()

    def ask() -> None:
        try:
            model = _model(port)
            _chat(port, model, _data_url(other_clip))
            time.sleep(_SETTLING_SECONDS)
            tracer.start()
            pieces = _chat(port, model, _data_url(clip))
            time.sleep(_SETTLING_SECONDS)
            found.set_result((tracer.stop(), pieces))
        except Exception as error:
            found.set_exception(error)
            raise
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    _run("serve", str(bundle), "--listen", f"127.0.0.1:{port}")
    trace, pieces = found.result(timeout=0)
    answer = "".join(pieces)
    return _followed(trace, Payloads(bundle, [answer, *pieces], [QUESTION, _data_url(clip)]), answer)


class _FrameWatch:
    """Starts the trace between two frames and ends it with the next answer, until one frame alone was on its way."""

    def __init__(self, tracer: Tracer, done: Callable[[tuple[Trace, dict[str, Any]]], None]) -> None:
        self._tracer, self._done = tracer, done
        self._answers = 0
        self._started: float | None = None

    def heard(self, record: dict[str, Any]) -> None:
        """What the webhook is sent, before it replies."""
        if "answer" not in record:
            return
        self._answers += 1
        if self._started is not None:
            self._end(self._started, record)
        elif self._answers >= _ANSWERS_BEFORE:
            threading.Timer(_SETTLING_SECONDS, self._start).start()

    def _start(self) -> None:
        self._tracer.start()
        self._started = time.monotonic()

    def _end(self, started: float, record: dict[str, Any]) -> None:
        trace, self._started = self._tracer.stop(), None
        age = record["age_ms"]["at_last_token"] / 1000
        if time.monotonic() - age > started and age < PERIOD_SECONDS:
            self._done((trace, record))
            os.kill(os.getpid(), signal.SIGTERM)
            self._answers = -sys.maxsize  # enough


@contextmanager
def _webhook(heard: Callable[[dict[str, Any]], None]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            heard(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _installed(root: Path) -> Tracer:
    tracer = Tracer(root, [root / PARTS[part] for part in PACKAGES if part != "tools"])
    tracer.install()
    return tracer


def _run(*words: str) -> None:
    """As a user starts it; ends when a signal ends it."""
    from stts_runtime.cli import main  # noqa: PLC0415  # of the clone that is followed

    sys.argv = ["stts-runtime", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _model(port: int) -> str:
    """The first that is about clips, as soon as the server answers."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/v1/models")
            names: list[str] = [model["id"] for model in json.load(connection.getresponse())["data"]]
            return next(name for name in names if not name.startswith("stream/"))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def _chat(port: int, model: str, url: str) -> list[str]:
    """The pieces of the answer, as they came."""
    content = [{"type": "text", "text": QUESTION}, {"type": "video_url", "video_url": {"url": url}}]
    body = {"model": model, "stream": True, "max_tokens": 16, "messages": [{"role": "user", "content": content}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    pieces = []
    with connection.getresponse() as response:
        for line in response:
            data = line.decode().removeprefix("data: ").strip()
            if data == "[DONE]":
                break
            pieces += [piece for choice in _choices(data) if (piece := choice["delta"].get("content"))]
    connection.close()
    return pieces


def _choices(data: str) -> list[dict[str, Any]]:
    found: dict[str, Any] = json.loads(data) if data else {"choices": []}
    if "choices" not in found:
        raise RuntimeError(f"the server said {data}")
    choices: list[dict[str, Any]] = found["choices"]
    return choices


def _data_url(clip: Path) -> str:
    return "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()


def _followed(trace: Trace, payloads: Payloads, answer: str) -> Followed:
    return Followed(answer, trace.files, len(trace.made), wrappings(trace.made, payloads))


def main() -> None:
    route, out, root, bundle, *rest = sys.argv[1:]
    if route == "frame":
        followed = follow_frame(Path(root), Path(bundle), rest[0])
    else:
        followed = follow_chat(Path(root), Path(bundle), Path(rest[0]), Path(rest[1]))
    Path(out).write_text(json.dumps(asdict(followed)), encoding="utf-8")


if __name__ == "__main__":
    main()
