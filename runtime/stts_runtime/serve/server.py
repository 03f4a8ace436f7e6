"""The HTTP server in a thread of its own: the pipeline has the main one, with the signals."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from stts_runtime.errors import SttsError, UserError
from stts_runtime.serve import connections
from stts_runtime.serve.connections import BoundedListener, PatientProtocol
from stts_runtime.stream.config_fields import Listen

_GRACE_SECONDS = 3
"""For answers under way when the server stops."""
_JOIN_SECONDS = 8.0


def bound(listen: Listen) -> socket.socket:
    """Raises `UserError` if nothing can listen there. With port 0 the system chooses one."""
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    server = BoundedListener(family)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((listen.address, listen.port))
    except OSError as error:
        server.close()
        raise UserError(f"cannot listen at {listen.address}:{listen.port}: {error.strerror}") from None
    return server


class HttpServer:
    """A context manager; leaving it ends all connections within seconds."""

    def __init__(
        self, app: ASGIApp, place: socket.socket, ended: Callable[[], None], certificate: tuple[Path, Path] | None
    ) -> None:
        """`ended` is called when the server stops for whatever reason. With a certificate and its key it is HTTPS."""
        cert, key = (None, None) if certificate is None else certificate
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            lifespan="off",
            ws="none",
            http=PatientProtocol,
            # See `forwarded`: by itself uvicorn believes whatever comes from this machine.
            proxy_headers=False,
            ssl_certfile=cert,
            ssl_keyfile=key,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server, self._place, self._ended = uvicorn.Server(config), place, ended
        self._thread = threading.Thread(target=self._run, name="stts-http", daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ended()

    async def _serve(self) -> None:
        if self._server.config.is_ssl:
            # asyncio gives a handshake a minute, and uvicorn has no setting for it.
            loop: Any = asyncio.get_running_loop()
            loop.create_server = partial(loop.create_server, ssl_handshake_timeout=connections.HEAD_SECONDS)
        await self._server.serve(sockets=[self._place])

    def __enter__(self) -> HttpServer:
        # Whoever connects from now on waits until the thread is there, and is not refused.
        self._place.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        stopped_by_us = self._thread.is_alive()
        self._server.should_exit = True
        self._thread.join(_JOIN_SECONDS)
        self._place.close()
        if not stopped_by_us:
            raise SttsError("the HTTP server ended by itself")
