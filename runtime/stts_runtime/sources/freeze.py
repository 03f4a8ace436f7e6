"""Noticing a camera that sends the same picture for ever."""

from __future__ import annotations

import zlib

import numpy as np

from stts_runtime.sources.picture import Picture

_CHECKS = 20


class FreezeWatch:
    """Compares whole pictures, exactly and a few times a second: the noise of a real sensor changes every one of them.

    A picture that has not changed for `seconds` is frozen. It may be a scene that a test source or a screen really
    shows: so one picture in each twentieth of `seconds` still passes, and the first that differs passes at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sum: int | None = None
        self._changed = self._checked = 0.0
        self.frozen = False

    def passes(self, picture: Picture) -> bool:
        """Whether this picture is worth handing on."""
        due = self._sum is None or picture.arrived - self._checked >= self._seconds / _CHECKS
        if not (due or self.frozen):
            return True
        moved = self._moved(picture)
        if due:
            self._checked = picture.arrived
        self.frozen = not moved and picture.arrived - self._changed >= self._seconds
        return due or moved

    def _moved(self, picture: Picture) -> bool:
        now = zlib.crc32(np.ascontiguousarray(picture.brightness()).data)
        if now == self._sum:
            return False
        self._sum, self._changed = now, picture.arrived
        return True
