"""Other sides for sinks: a web server and an MQTT 3.1.1 broker that do as a test tells them, and a record to send."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from stts_runtime.records import AgeRecord, StageRecord, StreamAnswer, TokenRecord


def answer(number: int = 1, text: str = "A car.", stream: str = "gate") -> StreamAnswer:
    return StreamAnswer(
        stream=stream,
        number=number,
        created="2026-01-02T03:04:05.678Z",
        steady_seconds=12.345,
        question="What is there?",
        answer=text,
        finish="end",
        trigger="every window",
        novelty=0.25,
        times_seconds=[0.0, 0.5],
        key_frames=[True, False],
        kept_per_frame=[5, 4],
        tokens=TokenRecord(visual_in=18, visual_kept=9, prompt=20, generated=3),
        milliseconds=StageRecord(vision=10, prefill_video=20, prefill_question=5, decode=40),
        age_ms=AgeRecord(at_first_token=80, at_last_token=120),
        dropped={"late": 2},
    )


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Replies `replies` one after the other, (status, headers), and 200 after the last."""

    port: int
    replies: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    delay_seconds: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def url(self, rest: str = "/hook", user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}{rest}"

    def numbers(self) -> list[int]:
        return [StreamAnswer.model_validate_json(request.body).number for request in self.requests]


@contextmanager
def web_receiver(port: int = 0, certificate: Path | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # in one packet: two would wait for each other

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # a client that was killed
                raise ConnectionAbortedError
            time.sleep(receiver.delay_seconds)
            receiver.requests.append(Request(self.path, dict(self.headers), body))
            status, headers = receiver.replies.pop(0) if receiver.replies else (200, {})
            self.send_response(status)
            for name, value in {"Content-Length": "2", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # a client that gave up
                super().handle()

    ThreadingHTTPServer.allow_reuse_address = True
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


class Broker:
    """Acknowledges what it gets unless `mute`; refuses connections with `refusal`, a return code of CONNACK."""

    def __init__(self, port: int = 0) -> None:
        self.published: list[tuple[str, bytes, bool]] = []
        self.connections: list[bytes] = []
        self.wills: list[tuple[str, bytes]] = []
        self.mute, self.refusal, self.goodbyes = False, 0, 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def drop_all(self) -> None:
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(5)

    def texts(self, topic: str) -> list[bytes]:
        return [body for at, body, _ in self.published if at == topic]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream:
            try:
                while head := stream.read(1):
                    self._packet(client, head[0], stream.read(_length(stream)))
            except OSError:
                pass

    def _packet(self, client: socket.socket, head: int, body: bytes) -> None:
        kind = head >> 4
        if kind == 1:
            self.connections.append(body)
            client.sendall(bytes([0x20, 2, 0, self.refusal]))
        elif kind == 3:
            size = struct.unpack(">H", body[:2])[0]
            number = body[2 + size : 4 + size]
            self.published.append((body[2 : 2 + size].decode(), body[4 + size :], bool(head & 1)))
            if not self.mute:
                client.sendall(b"\x40\x02" + number)
        elif kind == 12:
            client.sendall(b"\xd0\x00")
        elif kind == 14:
            self.goodbyes += 1


def _length(stream: BinaryIO) -> int:
    size, shift = 0, 0
    while True:
        byte = stream.read(1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return size


@contextmanager
def mqtt_broker(port: int = 0) -> Iterator[Broker]:
    broker = Broker(port)
    try:
        yield broker
    finally:
        broker.close()
