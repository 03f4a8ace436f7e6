"""When to hand on the pictures of a stream that arrives in bursts. It reads no clock and never sleeps."""

from __future__ import annotations

_LONGEST_STEP = 10.0
"""Seconds between two stamps; a longer step, or one backward, is a new beginning."""
_LONGEST_DELAY = 10.0
"""Seconds by which waiting for the server may put the pictures off."""
_CATCH_UP = 0.01
"""Share of each step by which such a delay shrinks again: too little to notice."""


class Pace:
    """Spreads pictures by their stamps, counted from the moment of the first.

    A picture that comes too late because the server had nothing to send puts off all that follow, by at most
    `_LONGEST_DELAY`: that is a reserve for the next time. One that is late for another reason (a decoder that is too
    slow, a process that was suspended) is due at once, so we catch up with the server, and what nobody takes is
    dropped.
    """

    def __init__(self) -> None:
        self._zero = 0.0
        """The moment of stamp 0 on our clock."""
        self._delay = 0.0
        self._stamp: float | None = None

    def due(self, stamp: float, now: float, waited: float) -> float:
        """The moment of the picture with this stamp, in the past if it is late.

        `waited` is how long the server kept us waiting since the picture before.
        """
        step = None if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        if step is None or not 0 <= step <= _LONGEST_STEP:
            self._zero, self._delay = now - stamp, 0.0
            return now
        self._put_off(-min(self._delay, _CATCH_UP * step))
        late = now - self._zero - stamp
        self._put_off(max(0.0, min(late, waited, _LONGEST_DELAY - self._delay)))
        return self._zero + stamp

    def _put_off(self, seconds: float) -> None:
        self._zero += seconds
        self._delay += seconds


class BurstWatch:
    """Tells a stream that arrives in bursts from one that arrives evenly, by stamps and moments of arrival.

    A burst is a run of pictures that took less than half of the time that their stamps span, with silence until the
    next: the stamps know of no silence, and over both they advance as our clock does. A single one is no sign: servers
    send what they have since the last key frame at once, and a network that was held up does the same.
    """

    _SILENCE = 0.75
    """Seconds; shorter ones lose no look."""
    _BURSTS = 2

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        """Stamp and arrival of the first picture of the burst; of the newest picture."""
        self._newest: tuple[float, float] | None = None
        self._bursts = 0

    def saw(self, stamp: float, arrived: float) -> bool:
        """Whether this picture begins a burst of a stream that has been found to come in bursts."""
        first, newest, now = self._first, self._newest, (stamp, arrived)
        self._newest = now
        if first is None or newest is None:
            self._first = now
            return False
        if arrived - newest[1] < self._SILENCE:
            return False
        self._bursts = self._bursts + 1 if _is_burst(first, newest, now) else 0
        self._first = now
        return self._bursts >= self._BURSTS


def _is_burst(first: tuple[float, float], last: tuple[float, float], following: tuple[float, float]) -> bool:
    stamps, clock = following[0] - first[0], following[1] - first[1]
    silence = following[1] - last[1]
    return abs(stamps - clock) < clock / 4 and silence > clock / 2 and following[0] - last[0] < silence / 2
