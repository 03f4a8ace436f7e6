"""What will look at a stream next, while another still does: it sees each frame too, until its window is as full."""

from __future__ import annotations

from stts_runtime import clock
from stts_runtime.errors import SttsError
from stts_runtime.sources.source import Frame
from stts_runtime.stream.orders import Orders
from stts_runtime.stream.watcher import Ring, Watcher

_SILENT_SECONDS = 10.0
"""A stream that gives no frame for so long holds up nobody: what its window shows is old."""


class Successor:
    """Used from the pipeline's thread alone."""

    def __init__(self, watcher: Watcher, orders: Orders) -> None:
        """`watcher` is a new one, on whatever engines come next."""
        self.watcher, self.orders = watcher, orders
        self.error: SttsError | None = None
        """Why it cannot take over."""
        self._last = clock.now()

    def see(self, frame: Frame) -> None:
        """After those that it follows: what fails here takes nothing from them."""
        if self.error is not None:
            return
        try:
            self.watcher.see(frame)
        except SttsError as error:
            self.error = error
        self._last = clock.now()

    def is_ready(self, before: Ring) -> bool:
        """Whether no answer has to wait if it takes over now."""
        mine = self.watcher.ring
        as_full = mine.is_full or (not before.is_full and len(mine.frames) >= len(before.frames))
        return as_full or clock.now() - self._last > _SILENT_SECONDS
