"""A meter: readings over intervals, from whatever source the machine has. It knows no source by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from stts_runtime.power.ticker import Ticker

PERIOD_SECONDS = 0.1
# Between two samples of power that are integrated: more than this of an interval must not rest on a straight line.
LONGEST_GAP_SECONDS = 1.0


class Joules(Protocol):
    """Adds up the energy of one interval."""

    def sample(self, seconds: float) -> None:
        """Looks at the machine; `seconds` is what the clock says."""
        ...

    @property
    def joules(self) -> float | None:
        """From the first sample to the last; None if too much of that could not be read."""
        ...


class PowerSource(Protocol):
    """What a machine says about its power. A fake with these is all that a test needs."""

    name: str
    """What is measured, of what, and what the source cannot see."""

    def begin(self) -> Joules:
        """Starts to add up."""
        ...

    def throttling(self) -> set[str]:
        """Why clocks are held back now, or were since the last call; empty also where that is not known."""
        ...

    def close(self) -> None:
        """Gives back what the source holds."""
        ...


@dataclass
class Reading:
    """What one interval took. Everything but `source` is filled in when the interval ends."""

    source: str
    seconds: float = 0.0
    joules: float | None = None
    """None if the source failed in the interval. It includes what the machine draws when idle."""
    throttled: list[str] = field(default_factory=list)
    """Why clocks were held back at some time in the interval, in words."""


class PowerMeter:
    """One interval at a time: the source remembers when it was asked last."""

    def __init__(
        self,
        source: PowerSource,
        period_seconds: float = PERIOD_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._source, self._period_seconds, self._clock = source, period_seconds, clock

    @property
    def source(self) -> str:
        return self._source.name

    @contextmanager
    def interval(self) -> Iterator[Reading]:
        """The reading of what happens inside the `with` block."""
        reading, joules, reasons = Reading(self.source), self._source.begin(), set[str]()

        def sample() -> None:
            joules.sample(self._clock())
            reasons.update(self._source.throttling())

        # What the source says first is about the time before.
        self._source.throttling()
        start = self._clock()
        joules.sample(start)
        with Ticker(sample, self._period_seconds):
            yield reading
        end = self._clock()
        joules.sample(end)
        reasons.update(self._source.throttling())
        reading.seconds, reading.joules, reading.throttled = end - start, joules.joules, sorted(reasons)

    def close(self) -> None:
        self._source.close()
