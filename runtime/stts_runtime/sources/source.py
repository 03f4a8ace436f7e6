"""What the pipeline asks of a source, whatever it is. A fake with these is all that a test needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from stts_runtime.sources.frame import Frame
from stts_runtime.sources.state import Status

StatusListener = Callable[[Status], None]
"""Told of every change of state, in the thread that noticed it; it must return at once."""


class Source(Protocol):
    """Frames of one camera, stream or file. `take` and `close` are called from one thread."""

    name: str
    """As the user wrote it, without credentials."""
    live: bool
    """Whether time goes on without us: then `take` gives the freshest frame and drops what nobody took."""

    @property
    def status(self) -> Status: ...

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that were not handed on, by cause: `late` (a fresher one was there), `corrupt`, `frozen`, ..."""
        ...

    @property
    def reconnections(self) -> int: ...

    def take(self, timeout_seconds: float) -> Frame | None:
        """The next frame (of a file: the next one in order; live: the freshest); None if none came in time, or when
        the status is over.
        """
        ...

    def close(self) -> None:
        """Stops and gives everything back, within two seconds whatever the other side does; may be called twice."""
        ...
