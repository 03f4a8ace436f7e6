"""One picture behind a URL is no stream, and pictures that go on are."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest

from stts_runtime.sources import LiveSettings, State, open_source
from stts_runtime.sources.snapshot import sends_one_picture
from tests.fault_lab.encoded import drawn, jpeg_parts
from tests.fault_lab.small_servers import http_stream

_QUICK = LiveSettings(open_seconds=3.0, stall_seconds=2.0, first_pause=0.01, longest_pause=0.05)


def _picture(suffix: str) -> bytes:
    return cv2.imencode(suffix, drawn(0))[1].tobytes()


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "jpeg"), (".png", "png"), (".webp", "webp")])
def test_one_picture_is_refused_and_not_asked_for_again(suffix: str, kind: str, with_length: bool) -> None:
    asked = itertools.count()

    def chunks() -> list[bytes]:
        next(asked)
        return [_picture(suffix)]

    length = len(_picture(suffix)) if with_length else None
    with http_stream(f"image/{kind}", chunks, 0.0, length) as url:
        source = open_source(url.replace("://", "://admin:s3cret@"), settings=_QUICK)
        assert source.take(5) is None
        assert source.status.state is State.REFUSED
        assert source.status.reason.startswith("this is one picture and no stream: give the camera's stream")
        told = next(asked)
        time.sleep(0.2)
        assert next(asked) == told + 1
        source.close()


def _jpegs() -> Iterator[bytes]:
    """Without a word about where one ends; of noise, since FFmpeg waits for more than small pictures give."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return itertools.cycle([cv2.imencode(".jpg", noise[::step])[1].tobytes() for step in (1, -1)])


@pytest.mark.parametrize(
    ("kind", "chunks"),
    [
        ("multipart/x-mixed-replace; boundary=frame", lambda: jpeg_parts(itertools.count())),
        ("image/jpeg", _jpegs),
    ],
)
def test_pictures_that_go_on_are_a_stream(kind: str, chunks: Callable[[], Iterator[bytes]]) -> None:
    with http_stream(kind, chunks, 0.04) as url:
        source = open_source(url, settings=_QUICK)
        frames = [source.take(5) for _ in range(10)]
        source.close()
    assert all(frame is not None for frame in frames)
    assert source.reconnections == 0


@contextmanager
def camera(location: str | None = None) -> Iterator[tuple[int, list[str | None]]]:
    """Sends a picture, or to another address; its port, and what `Authorization` requests had."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(302 if location else 200)
            self.send_header("Location" if location else "Content-Type", location or "image/jpeg")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], seen
        finally:
            server.shutdown()
            thread.join()


def test_a_redirection_gets_no_credentials() -> None:
    with camera() as (target, theirs), camera(f"http://127.0.0.1:{target}/picture") as (port, ours):
        assert sends_one_picture(f"http://user:pass@127.0.0.1:{port}/snapshot", 5.0)
    assert (ours, theirs) == (["Basic dXNlcjpwYXNz"], [None])
