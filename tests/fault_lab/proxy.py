"""A TCP proxy on the loopback interface that can be a bad network."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

_HEAD_END = b"\r\n\r\n"


class Proxy:
    """Passes connections on to `target_port`, and does to them what its attributes say at the moment."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.stalled = False
        """Keeps connections open and forwards nothing."""
        self.loss = 0.0
        """Share of the RTP packets (interleaved in RTSP) that are dropped on the way to the client."""
        self.late_by = 0
        """So many of a connection's first RTP packets are dropped, as for a client who comes later."""
        self.delay_seconds = 0.0
        """Before each message is forwarded."""
        self.connections = 0
        """So many clients came."""
        self._random = random.Random(0)
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        _in_background(self._accept)

    def cut(self) -> None:
        """Breaks all connections off."""
        while self._sockets:
            one = self._sockets.pop()
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            _in_background(self._forward, client, server, False)
            _in_background(self._forward, server, client, True)

    def _forward(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        packets = 0
        with suppress(OSError):
            for message in _messages(source) if to_client else _chunks(source):
                while self.stalled:
                    time.sleep(0.02)
                time.sleep(self.delay_seconds)
                is_packet = to_client and message[:1] == b"$"
                packets += int(is_packet)
                if not (is_packet and (packets <= self.late_by or self._random.random() < self.loss)):
                    target.sendall(message)
        # The other end learns that this one is gone.
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


def _in_background(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while chunk := source.recv(65536):
        yield chunk


def _messages(source: socket.socket) -> Iterator[bytes]:
    """Whole messages of RTSP: a packet that begins with $, or text with its body."""
    buffer = b""
    for chunk in _chunks(source):
        buffer += chunk
        while size := _message_size(buffer):
            yield buffer[:size]
            buffer = buffer[size:]


def _message_size(buffer: bytes) -> int:
    """Of the first message; 0 if it is not whole yet."""
    if buffer[:1] == b"$":
        size = 4 + int.from_bytes(buffer[2:4], "big") if len(buffer) >= 4 else len(buffer) + 1
    elif (end := buffer.find(_HEAD_END)) >= 0:
        lengths = [line for line in buffer[:end].split(b"\r\n") if line.lower().startswith(b"content-length:")]
        size = end + len(_HEAD_END) + (int(lengths[0].partition(b":")[2]) if lengths else 0)
    else:
        return 0
    return size if len(buffer) >= size else 0
