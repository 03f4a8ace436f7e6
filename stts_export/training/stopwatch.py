"""Where the time of training goes: steps by setting, and waiting for clips."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median

from stts_export.training.examples import Batch


class Stopwatch:
    """Between two calls of `got` lies one step.

    A GPU runs ahead of Python, so a step's time is right only where Python waits for it; with clips ready and the
    queue full that is nearly always.
    """

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = defaultdict(list)
        self._waited: list[float] = []
        self._setting: str | None = None
        self._started = self._waiting_since = time.perf_counter()

    def waits(self) -> None:
        """The next batch is asked for."""
        self._waiting_since = time.perf_counter()

    def got(self, batch: Batch) -> None:
        """It is there."""
        now = time.perf_counter()
        self._waited.append(now - self._waiting_since)
        if self._setting is not None:
            self._times[self._setting].append(now - self._started)
        self._setting, self._started = batch.setting.name, now

    def read(self) -> tuple[dict[str, float], float]:
        """Milliseconds: the median of steps by setting, and the mean of waiting, since the last time."""
        times = {name: round(1000 * median(found), 1) for name, found in self._times.items()}
        waited = 1000 * sum(self._waited) / max(len(self._waited), 1)
        self._times.clear()
        self._waited.clear()
        # What comes between this and the next batch, such as a validation, is no step.
        self._setting = None
        return times, round(waited, 1)
