"""Regions of a stream that nobody looks at: painted over in every frame before anything else has it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, model_validator

from stts_runtime.settings import Settings
from stts_runtime.sources.source import Frame, Source, Status

_LEAST_AREA = 1e-9
"""Of a frame; less is rounding."""
_LARGEST = sys.float_info.max
_PAINT = 0
"""Black, in every channel."""
_MARGIN = 4
"""Pixels around the frame, so that a side on its edge encloses too."""
_EDGE = (0, 220, 255)
"""BGR."""
_FINEST = 4
"""Bits of a pixel's fraction in OpenCV's coordinates."""
_FORMS = "rectangle: [x, y, width, height] or polygon: [[x, y], [x, y], [x, y]]"

Point = tuple[float, float]


def _points(given: object) -> list[list[float]]:
    """Raises `ValueError` unless these are three points or more within the frame."""
    points = [_numbers(one, 2) for one in given] if isinstance(given, list | tuple) else [[]]
    if not all(points):
        raise ValueError("it should be a list of points: [[0.1, 0.2], [0.5, 0.2], [0.3, 0.8]]")
    if len(points) < 3:
        raise ValueError(f"a polygon should have at least 3 points, got {len(points)}")
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"points are fractions of the frame, from 0 to 1, got [{x:g}, {y:g}]")
    if _on_one_line(points):
        raise ValueError("the polygon encloses nothing, since all its points lie on one line")
    return points


def _on_one_line(points: Sequence[Sequence[float]]) -> bool:
    x, y = points[0]
    sides = [(other_x - x, other_y - y) for other_x, other_y in points]
    longest_x, longest_y = max(sides, key=lambda side: side[0] ** 2 + side[1] ** 2)
    return all(abs(longest_x * side_y - longest_y * side_x) < _LEAST_AREA for side_x, side_y in sides)


def _rectangle(given: object) -> list[float]:
    if not (rectangle := _numbers(given, 4)):
        raise ValueError("it should be [x, y, width, height]: [0, 0, 0.3, 0.2]")
    x, y, width, height = rectangle
    if not (x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= 1 + 1e-9 and y + height <= 1 + 1e-9):
        raise ValueError(
            "x, y, width and height are fractions of the frame, so it should lie within 0 to 1 and not be empty, "
            f"got [{x:g}, {y:g}, {width:g}, {height:g}]"
        )
    return rectangle


def _numbers(given: object, count: int) -> list[float]:
    """Empty unless these are so many. Whole numbers that no float holds become the largest that one does."""
    if not isinstance(given, list | tuple) or len(given) != count:
        return []
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in given):
        return []
    return [max(-_LARGEST, min(one, _LARGEST)) if isinstance(one, int) else one for one in given]


class Mask(Settings):
    """A region in fractions of the frame, from the upper left corner; one of the two."""

    polygon: Annotated[tuple[Point, ...], BeforeValidator(_points)] | None = None
    """At least three points, `[[x, y], ...]`; covers every pixel that its sides touch."""
    rectangle: Annotated[tuple[float, float, float, float], BeforeValidator(_rectangle)] | None = None
    """`[x, y, width, height]`."""

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, given: object) -> object:
        if isinstance(given, Mask):
            return given
        if not isinstance(given, dict) or len(given) != 1:
            raise ValueError(f"it should be {_FORMS}")
        return given

    @property
    def corners(self) -> Sequence[Point]:
        if self.polygon is not None:
            return self.polygon
        assert self.rectangle is not None
        x, y, width, height = self.rectangle
        return (x, y), (x + width, y), (x + width, y + height), (x, y + height)


def _list(given: object) -> object:
    if not isinstance(given, list | tuple):
        raise ValueError(f"it should be a list, even of one: [{{{_FORMS.partition(' or ')[0]}}}]")
    return given


Masks = Annotated[tuple[Mask, ...], BeforeValidator(_list)]


def covered(masks: Sequence[Mask], height: int, width: int) -> NDArray[np.bool_]:
    """(height, width): every pixel that a mask touches, and all that its sides enclose, however they cross."""
    canvas = np.zeros((height + 2 * _MARGIN, width + 2 * _MARGIN), np.uint8)
    unit = 1 << _FINEST
    for mask in masks:
        # Pixel 0 of OpenCV has its middle at 0, a fraction 0 of ours its left edge.
        corners = np.array([(x * width - 0.5, y * height - 0.5) for x, y in mask.corners]) + _MARGIN
        sides = np.zeros_like(canvas)
        shape = [np.rint(corners * unit).astype(np.int32)]
        cv2.polylines(sides, shape, isClosed=True, color=1, thickness=2, shift=_FINEST)
        outlines, _ = cv2.findContours(sides, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, 1, cv2.FILLED)
    return canvas[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width].astype(bool)


class MaskedSource:
    """Hands on another source's frames with masks painted over."""

    def __init__(self, source: Source, masks: Sequence[Mask]) -> None:
        self._source, self._masks = source, tuple(masks)
        self._covered = np.zeros((0, 0), np.bool_)
        """Of the size of the last frame."""
        self.name, self.live = source.name, source.live

    @property
    def status(self) -> Status:
        return self._source.status

    @property
    def drops(self) -> Mapping[str, int]:
        return self._source.drops

    @property
    def reconnections(self) -> int:
        return self._source.reconnections

    def take(self, timeout_seconds: float) -> Frame | None:
        frame = self._source.take(timeout_seconds)
        if frame is None:
            return None
        height, width = frame.image.shape[:2]
        if self._covered.shape != (height, width):
            self._covered = covered(self._masks, height, width)
        image = frame.image.copy()
        image[self._covered] = _PAINT
        return Frame(image, frame.seconds, frame.captured)

    def ask_to_close(self) -> None:
        self._source.ask_to_close()

    def close(self) -> None:
        self._source.close()


def ruled(image: NDArray[np.uint8], hidden: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A BGR picture with a faint line at every tenth of its sides, and the edge of what is `hidden` (H, W) drawn."""
    lined = image.copy()
    height, width = hidden.shape
    for tenth in range(1, 10):
        # The half by a brighter line.
        share = 0.5 if tenth == 5 else 0.25
        for line in (lined[height * tenth // 10], lined[:, width * tenth // 10]):
            line[:] = line * (1 - share) + 255 * share
    edges, _ = cv2.findContours(hidden.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(lined, edges, -1, _EDGE, 1)
    return lined


def masked(source: Source, masks: Sequence[Mask]) -> Source:
    return MaskedSource(source, masks) if masks else source
