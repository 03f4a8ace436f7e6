"""From samples to joules: of a counter that the machine keeps, or of its power over time. It knows no clock.

Joules are None where a sample that they rest on could not be read: a guess would look like a measurement.
"""

from __future__ import annotations

from collections.abc import Callable


class NoSourceError(Exception):
    """The message is one clause."""


class Counted:
    """The difference of a counter, in joules, between the first sample and the last."""

    def __init__(self, counter: Callable[[], float | None]) -> None:
        self._counter = counter
        self._seen: list[float | None] = []

    def sample(self, _seconds: float) -> None:
        self._seen = [*self._seen[:1], self._counter()]

    @property
    def joules(self) -> float | None:
        first, last = (self._seen[0], self._seen[-1]) if self._seen else (None, None)
        return None if first is None or last is None else last - first


class Integrated:
    """Power in watts over time, as straight lines between samples.

    A sample that cannot be read is bridged if its neighbours are at most `longest_gap_seconds` apart. The first and the
    last one cannot be bridged.
    """

    def __init__(self, watts: Callable[[], float | None], longest_gap_seconds: float) -> None:
        self._watts, self._longest_gap = watts, longest_gap_seconds
        self._sum = 0.0
        self._before: tuple[float, float] | None = None
        self._whole = True
        self._last_was_read = False

    def sample(self, seconds: float) -> None:
        watts = self._watts()
        self._last_was_read = watts is not None
        if watts is None:
            self._whole = self._whole and self._before is not None
            return
        if self._before is not None:
            at, watts_before = self._before
            self._sum += (seconds - at) * (watts + watts_before) / 2
            self._whole = self._whole and seconds - at <= self._longest_gap
        self._before = (seconds, watts)

    @property
    def joules(self) -> float | None:
        return self._sum if self._whole and self._last_was_read else None
