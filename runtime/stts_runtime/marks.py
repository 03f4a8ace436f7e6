"""Points drawn into pictures: an open circle around each, so that what is there stays in sight, its name next to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_runtime.point_records import PointRecord

_COLOURS = (
    (80, 220, 255),
    (255, 200, 80),
    (140, 255, 140),
    (255, 140, 255),
    (110, 150, 255),
    (255, 255, 120),
)
"""BGR, all light: each circle is on a wider dark one, so that one of the two shows on any ground."""
_DARK = (16, 16, 16)
_FONT, _LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.42
_RADIUS = 0.05
"""As a share of the picture's height."""
_LEAST_RADIUS = 8
_LONGEST_NAME = 32
_LONGEST_AGE_SECONDS = 10.0
_MOVED_ON_SECONDS = 0.05


class _Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: _Box) -> bool:
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.bottom < other.top or other.bottom < self.top)


def marked(image: NDArray[np.uint8], points: Sequence[PointRecord], frame: int) -> NDArray[np.uint8]:
    """A copy of a BGR picture (H, W, 3) of the frame `frame` with its points, and the ways of tracks up to there.

    A name without a room that covers nothing else is left out.
    """
    here = [point for point in points if point.frame == frame]
    drawn = image.copy()
    if not here:
        return drawn
    colours = _colours(points)
    height, width = image.shape[:2]
    radius = max(_LEAST_RADIUS, round(height * _RADIUS))
    centres = [_place(point, width, height) for point in here]
    for point in here:
        _way(drawn, points, point, colours[point.name])
    inside = np.zeros((height, width), np.uint8)
    for centre in centres:
        cv2.circle(inside, centre, radius, 1, cv2.FILLED)
    drawn[inside > 0] = image[inside > 0]
    for point, centre in zip(here, centres, strict=True):
        cv2.circle(drawn, centre, radius, _DARK, 4, cv2.LINE_AA)
        cv2.circle(drawn, centre, radius, colours[point.name], 2, cv2.LINE_AA)
    taken = [_around(centre, radius + 3) for centre in centres]
    for point, centre in zip(here, centres, strict=True):
        _name(drawn, point.name, centre, radius, taken)
    return drawn


def fresh_points(points: Sequence[PointRecord], now: float) -> list[PointRecord]:
    """Those in the newest frame of an answer about a stream, as points of a frame 0 that came at `now`.

    Where the picture has moved on, names say how old they are. What is older than ten seconds is left out: the thing
    may be anywhere.
    """
    newest = max((point.seconds for point in points), default=now)
    age = max(now - newest, 0.0)
    if age > _LONGEST_AGE_SECONDS:
        return []
    said = f" {age:.1f} s ago" if age > _MOVED_ON_SECONDS else ""
    return [
        point.model_copy(update={"label": f"{point.name}{said}".lstrip(), "frame": 0, "track": None})
        for point in points
        if point.seconds == newest
    ]


def _colours(points: Sequence[PointRecord]) -> dict[str, tuple[int, int, int]]:
    """By name, the same in every frame of an answer."""
    names = list(dict.fromkeys(point.name for point in points))
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}


def _place(point: PointRecord, width: int, height: int) -> tuple[int, int]:
    return min(int(point.x * width), width - 1), min(int(point.y * height), height - 1)


def _around(centre: tuple[int, int], reach: int) -> _Box:
    return _Box(centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)


def _way(
    image: NDArray[np.uint8], points: Sequence[PointRecord], newest: PointRecord, colour: tuple[int, int, int]
) -> None:
    """A thin line through where a tracked thing was before."""
    if newest.track is None:
        return
    height, width = image.shape[:2]
    before = sorted(
        (one for one in points if one.name == newest.name and one.seconds <= newest.seconds),
        key=lambda one: one.seconds,
    )
    line = np.array([_place(one, width, height) for one in before], dtype=np.int32)
    cv2.polylines(image, [line], isClosed=False, color=_DARK, thickness=3, lineType=cv2.LINE_AA)
    cv2.polylines(image, [line], isClosed=False, color=colour, thickness=1, lineType=cv2.LINE_AA)


def _name(image: NDArray[np.uint8], name: str, centre: tuple[int, int], radius: int, taken: list[_Box]) -> None:
    if not name:
        return
    name = name[:_LONGEST_NAME]
    (width, height), below = cv2.getTextSize(name, _FONT, _LETTERS, 1)
    whole = _Box(0, 0, image.shape[1] - 1, image.shape[0] - 1)
    for box in _places(centre, radius + 4, width + 6, height + below + 4):
        inside = box.left >= 0 and box.top >= 0 and box.right <= whole.right and box.bottom <= whole.bottom
        if inside and not any(box.meets(other) for other in taken):
            taken.append(box)
            cv2.rectangle(image, box[:2], box[2:], _DARK, cv2.FILLED)
            cv2.putText(
                image, name, (box.left + 3, box.bottom - below - 1), _FONT, _LETTERS, (245, 245, 245), 1, cv2.LINE_AA
            )
            return


def _places(centre: tuple[int, int], away: int, width: int, height: int) -> Iterator[_Box]:
    """Around a point, the most usual first: right, left, above, below, and the four corners."""
    x, y = centre
    columns = {1: x + away, -1: x - away - width, 0: x - width // 2}
    rows = {1: y + away, -1: y - away - height, 0: y - height // 2}
    for column, row in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
        yield _Box(columns[column], rows[row], columns[column] + width, rows[row] + height)
