"""A part of the picture that a user marks, at one moment or in all frames."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import UserError
from stts_runtime.text import visible
from stts_runtime.video import Window

_NUMBER = r"\s*(\d+(?:\.\d*)?|\.\d+)\s*"
_FORM = re.compile(rf"{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}(?:@{_NUMBER}s?\s*)?")
_HAIR = 1e-9
"""Rounding of shares must not add a row of groups."""


@dataclass(frozen=True)
class Region:
    """A rectangle from its upper left corner: in shares of the picture if no number is above 1, else in pixels of the
    source as it is shown.
    """

    x: float
    y: float
    width: float
    height: float
    seconds: float | None = None
    """The moment; None: every frame."""

    @classmethod
    def parse(cls, text: str) -> Region:
        """Reads `x,y,width,height` or `x,y,width,height@seconds`. Raises `UserError`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise UserError(
                f"a region is X,Y,WIDTH,HEIGHT or X,Y,WIDTH,HEIGHT@SECONDS, such as 0.4,0.5,0.2,0.3@4.5, got "
                f"{visible(text)!r}"
            )
        *corners, seconds = (None if one is None else float(one) for one in found.groups())
        x, y, width, height = (float(one or 0) for one in corners)
        return cls(x, y, width, height, seconds)

    def __str__(self) -> str:
        text = ",".join(f"{one:g}" for one in (self.x, self.y, self.width, self.height))
        return text if self.seconds is None else f"{text}@{self.seconds:g}"

    def shares(self, window: Window) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, 0 to 1. Raises `UserError` for what is not in the picture."""
        given = (self.x, self.y, self.width, self.height)
        # A text holds none of these, as a number that is given may.
        if not all(math.isfinite(one) for one in given) or min(self.x, self.y) < 0:
            raise UserError(f"the region {self} should have numbers from 0 on")
        if not min(self.width, self.height) > 0:
            raise UserError(f"the region {self} is empty: its width and height should be above 0")
        across, down = (1, 1) if max(given) <= 1 else window.size
        box = self.x / across, self.y / down, (self.x + self.width) / across, (self.y + self.height) / down
        if max(box) > 1 + _HAIR:
            inside = "1,1" if max(given) <= 1 else f"{across},{down}, the pixels of {window.source}"
            raise UserError(
                f"the region {self} ends at {self.x + self.width:g},{self.y + self.height:g}, outside of the picture, "
                f"which ends at {inside}"
            )
        return box

    def frames(self, window: Window) -> list[int]:
        """The frames it is about: that nearest to its moment, or all. Raises `UserError` for a moment outside."""
        times = window.times_seconds
        if self.seconds is None:
            return list(range(len(times)))
        if not times[0] <= self.seconds <= times[-1]:
            raise UserError(
                f"the region {self} is about second {self.seconds:g}, and the frames are of second {times[0]:g} to "
                f"{times[-1]:g}"
            )
        return [int(np.abs(times - self.seconds).argmin())]

    def groups(self, window: Window, side: int) -> NDArray[np.bool_]:
        """(T, G): those that hold any part of it, of `side` x `side` groups a frame. Raises `UserError`."""
        left, top, right, bottom = self.shares(window)
        covered = np.zeros((len(window.times_seconds), side, side), dtype=np.bool_)
        rows, columns = _cells(top, bottom, side), _cells(left, right, side)
        covered[self.frames(window), rows, columns] = True
        return covered.reshape(len(covered), -1)


def as_regions(given: Sequence[object] | Region) -> list[Region]:
    """One or several, of which texts are read. Raises `UserError` for anything else."""
    return [_as_region(one) for one in ([given] if isinstance(given, str | Region) else given)]


def _as_region(given: object) -> Region:
    if isinstance(given, str):
        return Region.parse(given)
    if not isinstance(given, Region):
        raise UserError(f"a region should be text such as 0.4,0.5,0.2,0.3@4.5, or a Region, got {given!r}")
    return given


def _cells(start: float, end: float, side: int) -> slice:
    """At least one of them, of a region that is a hair wide, too."""
    first = min(math.floor(start * side + _HAIR), side - 1)
    return slice(first, max(math.ceil(end * side - _HAIR), first + 1))
