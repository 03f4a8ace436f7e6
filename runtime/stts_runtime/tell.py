"""Progress messages of long-running work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from stts_runtime import clock

UNRESPONSIVE_SECONDS = 60.0
"""Without a round of the engines' thread. One question about a long clip may take a while on a slow machine."""

Tell = Callable[[str], None]
"""Takes a line for people, from any thread."""


@runtime_checkable
class TellEvent(Protocol):
    """A `Tell` that takes levels (debug, info, warning, error) and fields besides."""

    def event(self, level: str, text: str, **fields: Any) -> None: ...


def tell_event(tell: Tell, level: str, text: str, **fields: Any) -> None:
    """`text` says all that the fields say; who takes lines alone hears it if it is above debug."""
    if isinstance(tell, TellEvent):
        tell.event(level, text, **fields)
    elif level != "debug":
        tell(text)


class TellStep(Protocol):
    """Takes each step in a few words, and how much of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None: ...


def tell_nobody(step: str, done: int = 0, of: int = 0) -> None:
    """For those who do not want to know."""


class Seldom:
    """Passes a text on at most once in `pause_seconds`."""

    def __init__(self, tell: Tell, pause_seconds: float = 60.0) -> None:
        self._tell, self._pause = tell, pause_seconds
        self._last: float | None = None

    def __call__(self, text: str) -> None:
        now = clock.now()
        if self._last is None or now - self._last >= self._pause:
            self._last = now
            self._tell(text)
