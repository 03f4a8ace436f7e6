"""Connections that take a server's places without asking anything: they are closed after a while, and are not more than
a process has files for.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from weakref import WeakSet

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""From a connection, or the end of the last answer on it, until the head of a request is there."""
MOST_CONNECTIONS = 600
"""Linux gives a process 1024 files, and cameras, spools and uploads need theirs."""


class BoundedListener(socket.socket):
    """Closes what comes beyond the most connections. It counts from the accept on, so those in a TLS handshake too."""

    def __init__(self, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._accepted: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises `ConnectionAbortedError`, which asyncio takes for a client that went away, for one too many."""
        connection, address = super().accept()
        if sum(one.fileno() >= 0 for one in self._accepted) >= MOST_CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError
        self._accepted.add(connection)
        return connection, address


class PatientProtocol(H11Protocol):
    """uvicorn's, which would wait for the head of a request for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()
