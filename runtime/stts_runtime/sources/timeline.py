"""Seconds that never go back, whatever timestamps a stream sends."""

from __future__ import annotations

import math

_TRUSTED_SECONDS = 3.0
_SLEW = 0.05


class LiveTimeline:
    """Follows the stream's timestamps for their even steps, and our clock for where they are.

    A step is taken from the timestamps if it is forward and at most 3 s longer than the wait for it, else (missing,
    repeated, backward, jumping timestamps, a new connection) it is the wait itself. A camera's clock that runs fast
    or slow is corrected by at most a twentieth of each step. So the seconds are never more than 3 s from our clock,
    counted from the first picture.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._first: float | None = None
        self._arrived = 0.0
        self._pts: float | None = None

    def restart(self) -> None:
        """The next timestamp has nothing to do with the ones before."""
        self._pts = None

    def place(self, pts_seconds: float | None, arrived: float) -> float:
        """`arrived` is on the clock of `time.monotonic`."""
        if self._first is None:
            self._first = self._arrived = arrived
        waited, clock = max(arrived - self._arrived, 0.0), arrived - self._first
        step = _forward(self._pts, pts_seconds)
        if step is None or step > waited + _TRUSTED_SECONDS:
            step = waited
        behind = clock - (self._seconds + step)
        step += min(max(behind, -_SLEW * step), _SLEW * step)
        near = min(max(self._seconds + step, clock - _TRUSTED_SECONDS), clock + _TRUSTED_SECONDS)
        self._seconds = max(self._seconds, near)
        self._pts, self._arrived = pts_seconds, max(arrived, self._arrived)
        return self._seconds


def _forward(before: float | None, now: float | None) -> float | None:
    """The step between two timestamps; None if it is none that goes forward."""
    if before is None or now is None:
        return None
    step = now - before
    return step if 0 < step < math.inf else None
