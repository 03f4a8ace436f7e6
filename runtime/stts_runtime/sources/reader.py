"""What a source asks of the code that speaks with the other side."""

from __future__ import annotations

from typing import Protocol

from stts_runtime.sources.picture import Picture


class Reader(Protocol):
    """One connection. Its methods block, are called from one thread and raise `faults.Lost` or a kind of it."""

    corrupt: int
    """Pictures that came damaged and were dropped."""

    def open(self) -> None: ...

    def read(self) -> Picture | None:
        """The next picture in order; None if something came that makes no picture (yet)."""
        ...

    def close(self) -> None:
        """Gives everything back, whether or not `open` went well."""
        ...
