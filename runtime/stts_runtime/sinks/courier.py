"""What hands one record to the other side, and how it says that it could not."""

from __future__ import annotations

from typing import Protocol


class AwayError(Exception):
    """The other side cannot take anything now; `pause_seconds` is what it asked for. Its text has no credentials."""

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


class RefusedError(Exception):
    """The other side will never take this record. Its text has no credentials."""


class Courier(Protocol):
    """Used from one thread. No call takes longer than about the sink's timeout."""

    def deliver(self, body: bytes) -> None:
        """Returns once the other side has said that it has it. Raises `AwayError` or `RefusedError`."""
        ...

    def tend(self) -> None:
        """Called every second or so while nothing waits. Raises `AwayError`."""
        ...

    def close(self) -> None: ...
