"""What an attacker sends to a server: it is let go or refused, in time, and the server goes on."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import requests
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter

from stts_runtime.bundle import Bundle
from stts_runtime.errors import SourceError
from stts_runtime.serve import connections, guard, media
from stts_runtime.serve.api_errors import ApiError, handle_errors
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.serve.settings import Limits, ServerSettings
from stts_runtime.serve.uploads import Uploads
from stts_runtime.stream.config_fields import Listen
from tests.support.served import served


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server with the guard's patience shortened, before an application that reads every body."""

    async def app(scope: object, receive: object, send: object) -> None:
        while (await receive())["more_body"]:  # type: ignore[operator]
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    place = bound(Listen.model_validate("127.0.0.1:0"))
    number: int = place.getsockname()[1]
    requests = Counter("requests", "", ["route", "status"], registry=CollectorRegistry())
    guarded = guard.Guard(app, ServerSettings(), None, requests, lambda _: None)
    with HttpServer(guarded, place, lambda: None, None):
        yield number


@pytest.mark.parametrize(("seconds", "most_bytes", "status"), [(60.0, 10, 413), (0.05, 10_000, 408)])
def test_the_application_passes_on_why_a_body_was_not_read(
    seconds: float, most_bytes: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI turns whatever is raised while it reads a body into a status of its own."""
    app = FastAPI()
    handle_errors(app, lambda _: None)

    @app.post("/ask")
    def ask(body: dict[str, str]) -> dict[str, str]:
        return body

    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.2)
        return {"type": "http.request", "body": b"x" * 20, "more_body": True}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    monkeypatch.setattr(guard, "BODY_SECONDS", seconds)
    settings = ServerSettings(limits=Limits(body_bytes=most_bytes))
    requests = Counter("requests", "", ["route", "status"], registry=CollectorRegistry())
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/ask", "headers": headers, "query_string": b"", "client": None}
    asyncio.run(guard.Guard(app, settings, None, requests, lambda _: None)(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == status
    assert b"a request" in sent[1]["body"]


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def heard(client: socket.socket) -> bytes:
    """Until the server closes."""
    answer = b""
    try:
        while piece := client.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def is_well(port: int) -> bool:
    return requests.get(f"http://127.0.0.1:{port}/x", timeout=10).status_code == 200


HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET /x HTT", HEAD])
def test_a_connection_that_asks_nothing_is_closed(port: int, sent: bytes) -> None:
    began = time.monotonic()
    with connected(port) as client:
        client.sendall(sent)
        assert heard(client) == b""
    assert 0.3 < time.monotonic() - began < 5
    assert is_well(port)


def test_a_connection_that_drips_its_head_is_closed(port: int) -> None:
    began = time.monotonic()
    with connected(port) as client:
        client.sendall(HEAD)
        while time.monotonic() - began < 5 and not _is_closed(client):
            client.sendall(b"X-A: b\r\n")
            time.sleep(0.1)
    assert time.monotonic() - began < 4


def _is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_body_that_does_not_come_is_408(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert is_well(port)


def test_a_flood_of_headers_is_refused(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD)
        answer = b""
        try:
            for number in range(3000):
                client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 60))
            answer = heard(client)
        except OSError:
            answer = b"HTTP/1.1 400 "
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert is_well(port)


def test_no_more_connections_are_held_than_there_are_files_for(port: int) -> None:
    with ExitStack() as held:
        clients = [held.enter_context(connected(port)) for _ in range(40)]
        time.sleep(0.2)
        assert sum(map(_is_closed, clients)) == 20
    time.sleep(0.2)
    assert is_well(port)


def png(width: int, height: int, rows: int) -> bytes:
    """One that says to have that size, and packs that many rows of nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed = zlib.compressobj(9)
    lines = b"".join(packed.compress(bytes(1 + 3 * width)) for _ in range(rows)) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


@pytest.mark.parametrize("content", [png(60_000, 60_000, 300), png(2**31 - 1, 2**31 - 1, 0), png(10, 10, 2_000_000)])
def test_a_picture_that_unpacks_to_gigabytes_is_refused_or_read_as_large_as_it_said(content: bytes) -> None:
    began = time.monotonic()
    with suppress(ApiError):
        assert media.picture(content, Limits()).shape == (10, 10, 3)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_container_of_hundreds_of_videos_is_refused_in_time(tmp_path: Path, suffix: str) -> None:
    content = io.BytesIO()
    with av.open(content, "w", format={".mkv": "matroska", ".mp4": "mp4"}[suffix]) as out:
        streams = [out.add_stream("mpeg4", 10, width=16, height=16, pix_fmt="yuv420p") for _ in range(100)]
        for stream in streams:
            assert isinstance(stream, av.VideoStream)
            out.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            out.mux(stream.encode())
    assert_many_videos(content.getvalue(), tmp_path)


def test_a_container_of_thousands_of_videos_is_refused_in_time(tmp_path: Path) -> None:
    def element(name: str, content: bytes) -> bytes:
        return bytes.fromhex(name) + (1 << 28 | len(content)).to_bytes(4, "big") + content

    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    size = element("E0", element("B0", b"\x08") + element("BA", b"\x08"))
    codec = element("83", b"\1") + element("86", b"V_MJPEG")
    tracks = [element("AE", element("D7", struct.pack(">H", n)) + codec + size) for n in range(1, 5001)]
    head = element("1A45DFA3", element("4282", b"matroska"))
    picture = element("1F43B675", element("E7", b"\0") + element("A3", b"\x81\0\0\x80" + jpeg))
    film = element("1549A966", b"") + element("1654AE6B", b"".join(tracks)) + picture
    content = head + element("18538067", film)
    assert_many_videos(content, tmp_path)


def assert_many_videos(content: bytes, folder: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"more than 8 videos.*ffmpeg -i FILE -map 0:v:0"):
        Uploads(folder, Limits()).add(io.BytesIO(content), "many")
    assert time.monotonic() - began < 20


@pytest.mark.onnxruntime
def test_tricks_with_names_of_streams_and_files_lead_nowhere(micro_bundle: Bundle) -> None:
    tricks = [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/page.js",
        "a\0b",
        "file-" + "0" * 24,
        "x" * 9000,
    ]
    with served(micro_bundle.folder) as one:
        for trick in tricks:
            for path in (f"/api/streams/{trick}/picture", f"/v1/files/{trick}", f"/{trick}", f"/v1/models/{trick}"):
                reply = requests.get(one.address + path, timeout=10)
                assert reply.status_code in (400, 404), path[:80]
                assert "root:" not in reply.text
                assert len(reply.text) < 2000
        number = base64.b64encode(b"x").decode()
        body = {"question": "?", "file_id": f"file-{number}/../../etc/passwd"}
        assert requests.post(f"{one.address}/api/ask", json=body, timeout=10).status_code == 404
