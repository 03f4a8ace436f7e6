"""What the pipeline asks of a place where records go."""

from __future__ import annotations

from typing import Protocol

from stts_runtime.records import Record


class Sink(Protocol):
    """`write` is called from the pipeline's thread and never waits for the other side."""

    name: str
    """Without credentials."""

    def write(self, record: Record) -> None:
        """Raises `SinkError` only if the record cannot be kept at all (a full disk); it is then counted as lost."""
        ...

    def close(self, seconds: float) -> None:
        """Hands on what is waiting, for at most so long; what is left stays on the disk for the next start."""
        ...
