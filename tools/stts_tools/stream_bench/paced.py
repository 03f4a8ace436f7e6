"""A camera that is none: a picture every so often, made before, so that nothing is decoded and nothing is installed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.sources.source import Frame, State, Status


class PacedSource:
    """Live: it hands on the newest picture that is there, and counts those that were not taken in time."""

    reconnections, live = 0, True

    def __init__(self, name: str, pictures: Sequence[NDArray[np.uint8]], begins: float, period: float) -> None:
        """The first picture comes at `begins`, on the clock of `clock.now`, and one more after every `period`."""
        self.name, self._pictures, self._begins, self._period = name, pictures, begins, period
        self.status, self.drops = Status(State.LIVE, "", begins), dict[str, int]()
        self._next = 0
        self.shown = self.missed = 0

    def take(self, timeout_seconds: float) -> Frame | None:  # noqa: ARG002  # nobody waits for it
        newest = int((clock.now() - self._begins) // self._period)
        if newest < self._next:
            return None
        self.missed += newest - self._next
        self.shown += newest - self._next + 1
        self._next = newest + 1
        image = self._pictures[newest % len(self._pictures)]
        return Frame(image, newest * self._period, self._begins + newest * self._period)

    def ask_to_close(self) -> None:
        """Nothing here takes time to stop."""

    def close(self) -> None:
        """There is nothing to close."""


def pictures(size: int, count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Blocks of colour of which a tenth changes from one picture to the next: BGR (size, size, 3) uint8."""
    generator, side = np.random.default_rng(seed), 8
    blocks, made = generator.integers(0, 256, (side, side, 3)), []
    place = np.arange(size) * side // size
    for _ in range(count):
        changed = generator.random((side, side, 1)) < 0.1  # a tenth
        blocks = np.where(changed, generator.integers(0, 256, blocks.shape), blocks)
        made.append(np.ascontiguousarray(blocks[place][:, place].astype(np.uint8)))
    return made
