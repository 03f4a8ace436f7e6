"""How far a long piece of work has got, and how long the rest will take at the pace seen so far.

Nothing here knows beforehand how long anything takes: what was not seen once has no estimate, and the text says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stts_runtime import clock

Clock = Callable[[], float]


class Pace:
    """What one of many steps alike takes."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._others, self._seconds = 0, 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """`count` more of them took so long together."""
        if self._first is None:
            self._first, seconds, count = seconds / count, seconds / count * (count - 1), count - 1
        self._others, self._seconds = self._others + count, self._seconds + seconds

    @property
    def seconds_each(self) -> float | None:
        """Without the first, which loads and warms up, as soon as there are others; None where none was seen."""
        return self._seconds / self._others if self._others else self._first


class Progress:
    """Steps of one or several kinds. Those to come take what those of their kind took in this run."""

    def __init__(self, steps: Mapping[str, int], done: int = 0, now: Clock = clock.now) -> None:
        """`steps`: how many there are of each kind. Of a single kind, an earlier run may have `done` some."""
        self._to_come = dict(steps)
        if done:
            (kind,) = steps
            self._to_come[kind] -= done
        self._paces = {kind: Pace() for kind in steps}
        self._of, self._done, self._now = sum(steps.values()), done, now
        self._under_way: str | None = None
        self._since = now()

    def begin(self, kind: str) -> str:
        """The next step, of this kind, begins where the one before it ends; the text says where in the work it is."""
        if self._under_way is not None:
            self._end(self._under_way, 1)
        self._under_way, self._since = kind, self._now()
        return f"{self._done + 1} of {self._of}{self._left_in_words()}"

    def reached(self, done: int) -> str:
        """For steps of one kind alone: this many of them are done."""
        (kind,) = self._paces
        if done > self._done:
            self._end(kind, done - self._done)
        return f"{done} of {self._of}{self._left_in_words()}"

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the kinds of step seen so far; None if none of those is still to come."""
        known = [
            each * count
            for kind, count in self._to_come.items()
            if count > 0 and (each := self._paces[kind].seconds_each) is not None
        ]
        return sum(known) if known else None

    def _end(self, kind: str, count: int) -> None:
        now = self._now()
        self._paces[kind].add(now - self._since, count)
        self._done, self._since = self._done + count, now
        self._to_come[kind] -= count

    def _left_in_words(self) -> str:
        seconds = self.seconds_left
        if seconds is None:
            return ""
        unknown = any(count > 0 and self._paces[kind].seconds_each is None for kind, count in self._to_come.items())
        return f", {'at least' if unknown else 'about'} {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """As exact as an estimate may be: 8 s, 95 s, 12 minutes, 3.4 hours."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
