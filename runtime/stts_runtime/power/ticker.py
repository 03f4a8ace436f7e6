"""A function called again and again on a thread of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

NAME = "stts-power"


class Ticker:
    """Leaving the block waits for a call that is under way; none comes after."""

    def __init__(self, tick: Callable[[], None], period_seconds: float) -> None:
        self._tick, self._period_seconds = tick, period_seconds
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._left.wait(self._period_seconds):
            self._tick()
