"""Metrics and health of `stts-runtime stream` over HTTP: for Prometheus, for whoever restarts it, for whoever looks.

Everything that it shows is made when it is asked for, in a thread of the request. It shows names of streams and sinks
and no credentials.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.service_manager import ServiceManager
from stts_runtime.stream.channel import Channel
from stts_runtime.tell import UNRESPONSIVE_SECONDS

_REQUEST_SECONDS = 10.0

Reply = tuple[HTTPStatus, str, str]
"""Status, content type, content."""
Routes = Mapping[str, Callable[[], Reply]]


class Health:
    """What is told of the streams. Thread-safe."""

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self._streams: Callable[[], list[Channel]] | None = None
        self._bundle: Callable[[], Mapping[str, str]] = dict

    def ready(self, streams: Callable[[], list[Channel]], bundle: Callable[[], Mapping[str, str]]) -> None:
        """Engines are loaded and sources opened; `bundle` says which answers."""
        self._streams, self._bundle = streams, bundle

    @property
    def routes(self) -> Routes:
        return {"/healthz": self._healthz, "/readyz": self._readyz, "/streams": self._all}

    def _healthz(self) -> Reply:
        """Dead cameras are no reason to restart; an engine that hangs is one."""
        pause = clock.now() - self._manager.last_beat
        if self._streams is not None and pause > UNRESPONSIVE_SECONDS:
            return _json({"status": f"the engines' thread has not come by for {pause:.0f} s"}, ok=False)
        return _json({"status": "ok"})

    def _readyz(self) -> Reply:
        return _json({"status": "loading"}, ok=False) if self._streams is None else self._healthz()

    def _all(self) -> Reply:
        channels = [] if self._streams is None else self._streams()
        return _json({**self._bundle(), "streams": [_state_of(channel) for channel in channels]})


def _state_of(channel: Channel) -> dict[str, object]:
    source = channel.source
    status, seen = source.status, channel.newest_captured
    return {
        "name": channel.name,
        "source": source.name,
        "state": status.state.value,
        "reason": status.reason,
        "since_seconds": round(clock.now() - status.since, 1),
        "looked_seconds_ago": None if seen is None else round(clock.now() - seen, 1),
        "reconnections": source.reconnections,
        "answers": channel.answers,
        "waiting_questions": channel.waiting,
    }


def _json(content: object, *, ok: bool = True) -> Reply:
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(content)


class StatusServer:
    """A context manager; closing it gives the port back."""

    def __init__(self, address: str, port: int, routes: Routes) -> None:
        """Raises `UserError` if it cannot listen there. With port 0 the system chooses one."""
        try:
            self._server = _Server(address, port, routes)
        except OSError as error:
            raise UserError(f"metrics cannot be served at {address}:{port}: {error.strerror}") from None
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="stts-status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Who still reads when it closes is not waited for.
    block_on_close = False

    def __init__(self, address: str, port: int, routes: Routes) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.routes = routes
        super().__init__((address, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "stts-runtime", ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:  # the name that http.server looks for
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            there = ", ".join(self.server.routes)
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"there are {there}\n")
        else:
            self._send(*route())

    do_HEAD = do_GET

    def _send(self, status: HTTPStatus, kind: str, content: str) -> None:
        body = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No line for every scrape."""
