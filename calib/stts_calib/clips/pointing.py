"""Points in an answer, as Molmo2 writes them: `<points coords="15.0 1 412 305">vehicle</points>`.

`coords` holds a frame's time in seconds and then, for each thing, a number, x and y in thousandths of the frame's
sides. What is not there is answered in words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stts_calib.clips.scene import DURATION_SECONDS, Place

NOT_THERE = "There are none."
_CELLS = 40
"""Points are in the middle of one of this many cells along each side: as many words as a small model has for places."""
PLACES = tuple(f"{int((cell + 0.5) / _CELLS * 1000):03d}" for cell in range(_CELLS))
_POINTS = re.compile(r'<points coords="([0-9.]+) 1 ([0-9]{3,4}) ([0-9]{3,4})">[^<]*</points>')
_LATE_SECONDS = 0.05


class Box(NamedTuple):
    """Fractions of the frame's sides."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> Place:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def box_around(place: Place, width: float, height: float) -> Box:
    return Box(place[0] - width / 2, place[1] - height / 2, place[0] + width / 2, place[1] + height / 2)


def point_at(place: Place, label: str) -> str:
    """The answer that points to `place` in the last frame."""
    across, down = (PLACES[int(at * _CELLS)] for at in place)
    return f'<points coords="{DURATION_SECONDS:.1f} 1 {across} {down}">{label}</points>'


def points_at(answer: str, target: Box) -> bool:
    """Whether the answer is one point, in the last frame, that is within `target`."""
    found = _POINTS.fullmatch(answer)
    if found is None or abs(float(found[1]) - DURATION_SECONDS) > _LATE_SECONDS:
        return False
    across, down = int(found[2]) / 1000, int(found[3]) / 1000
    return target.left <= across <= target.right and target.top <= down <= target.bottom
