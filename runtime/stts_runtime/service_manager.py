"""What systemd is told of a program that it started: that it is ready, reloads, stops, and is alive.

The protocol is a datagram of `KEY=VALUE` lines to the socket that $NOTIFY_SOCKET names (sd_notify(3)); without the
variable nothing is sent. It knows nothing of streams.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from stts_runtime import clock

_BEATS = 4
"""In the time that the watchdog waits: one may be late, and one lost."""


class ServiceManager:
    """Thread-safe."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self._address = _address(given.get("NOTIFY_SOCKET", ""))
        self._pause = _watchdog_seconds(given) / _BEATS
        self.last_beat = clock.now()
        """On the clock of `clock.now`."""
        self._last_sent = 0.0

    def ready(self, status: str = "") -> None:
        """From now on the watchdog counts; `status` is what `systemctl status` shows."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """Until the next `ready`."""
        # Which systemd wants on its own clock, to tell an old message from a new one.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def beat(self) -> None:
        """By the thread that must not hang, every round; the watchdog is fed now and then."""
        self.last_beat = now = clock.now()
        if self._pause and now - self._last_sent >= self._pause:
            self._last_sent = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A manager that is away is no reason to end.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.settimeout(1.0)
            manager.sendto("\n".join(lines).encode(), self._address)


def _address(given: str) -> str:
    """An @ stands for the zero of an abstract address."""
    return "\0" + given[1:] if given.startswith("@") else given


def _watchdog_seconds(given: Mapping[str, str]) -> float:
    """0 if there is no watchdog, or it is another process's."""
    if given.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = given.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0


def _status(text: str) -> list[str]:
    return [f"STATUS={text}"] if text else []
