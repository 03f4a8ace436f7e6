"""Servers of a few lines: endless HTTP streams, HLS, and an RTSP server with a codec that nobody knows."""

from __future__ import annotations

import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tests.fault_lab.encoded import h264

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 SPAM/90000\r\na=control:track1\r\n"
)
_ANSWERS = {
    "OPTIONS": ("Public: DESCRIBE, SETUP, PLAY", ""),
    "DESCRIBE": ("Content-Type: application/sdp", _SDP),
    "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1", ""),
}


@contextmanager
def http_stream(
    kind: str, chunks: Callable[[], Iterable[bytes]], seconds_each: float, length: int | None = None
) -> Iterator[str]:
    """The URL of a stream of `chunks`, one in `seconds_each`; each client gets them from the beginning. With `length`
    the server says how many bytes will come.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            with suppress(OSError):
                for chunk in chunks():
                    self.wfile.write(chunk)
                    time.sleep(seconds_each)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/live"


@contextmanager
def hls_stream(segment_seconds: float, pictures: int = 500) -> Iterator[str]:
    """The URL of a live playlist of four segments, each published when its time is over."""
    chunks, each, began = h264(pictures, 160, 120, "mpegts"), round(25 * segment_seconds), time.monotonic()

    def newest() -> int:
        return 4 + int((time.monotonic() - began) / segment_seconds)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            body = _playlist(newest(), segment_seconds) if name.endswith(".m3u8") else self._segment(name)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def _segment(self, name: str) -> bytes:
            number = int(name.removesuffix(".ts"))
            return b"".join(chunks[number * each : (number + 1) * each])

        def log_message(self, *_: object) -> None:
            pass

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/live.m3u8"


def _playlist(newest: int, seconds: float) -> bytes:
    first = newest - 4
    entries = "".join(f"#EXTINF:{seconds},\n{number}.ts\n" for number in range(first, newest))
    head = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{round(seconds)}\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    return (head + entries).encode()


@contextmanager
def unknown_codec() -> Iterator[str]:
    """The URL of an RTSP stream that is described, and played, but in no codec that exists."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self._answer()

        def _answer(self) -> None:
            while lines := list(iter(lambda: self.rfile.readline().strip().decode(), "")):
                header, body = _ANSWERS.get(lines[0].split()[0], ("Session: 1", ""))
                number = next(line for line in lines if line.lower().startswith("cseq"))
                head = f"RTSP/1.0 200 OK\r\n{number}\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write((head + body).encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with _serving(server) as port:
        yield f"rtsp://127.0.0.1:{port}/stream"


@contextmanager
def _serving(server: socketserver.ThreadingTCPServer | http.server.ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
