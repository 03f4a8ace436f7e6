"""What actors and objects look like. Colours are RGB; everything is drawn into a uint8 picture (S, S, 3) in place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.scene import Place

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (205, 40, 40),
    "orange": (240, 130, 25),
    "yellow": (240, 220, 60),
    "green": (40, 160, 60),
    "blue": (45, 75, 215),
    "purple": (150, 50, 175),
    "white": (245, 245, 245),
    "black": (18, 18, 18),
}
_SKIN = (205, 165, 135)
_TYRE = (25, 25, 25)
_GLASS = (130, 160, 175)
BAG_SIDE = 0.042
"""Side of a bag: 10 pixels of 252."""

LIGHT_SIDE = 0.07
_DIGIT_ROWS = 5
_FONT = (
    "### #.# #.# #.# ###", ".#. ##. .#. .#. ###", "### ..# ### #.. ###", "### ..# .## ..# ###", "#.# #.# ### ..# ..#",
    "### #.. ### ..# ###", "### #.. ### #.# ###", "### ..# .#. .#. .#.", "### #.# ### #.# ###", "### #.# ### ..# ###",
)  # fmt: skip
_DIGITS = [
    [(row, column) for row, cells in enumerate(digit.split()) for column, cell in enumerate(cells) if cell == "#"]
    for digit in _FONT
]


def draw_person(picture: Image, place: Place, width: float, height: float, colour: str) -> None:
    """A head over a body with legs."""
    x, y, w, h = _pixels(picture, place, width, height)
    body = COLOURS[colour]
    _rectangle(picture, x - w / 2, y - 0.26 * h, x + w / 2, y + 0.22 * h, body)
    for leg in (x - 0.26 * w, x + 0.26 * w):
        _rectangle(picture, leg - 0.17 * w, y + 0.2 * h, leg + 0.17 * w, y + h / 2, body)
    centre = round(x), round(y - 0.38 * h)
    cv2.circle(picture, centre, max(2, round(0.13 * h)), _SKIN, cv2.FILLED)


def draw_vehicle(picture: Image, place: Place, width: float, height: float, colour: str) -> None:
    """A body with a cabin on two wheels."""
    x, y, w, h = _pixels(picture, place, width, height)
    body = COLOURS[colour]
    _rectangle(picture, x - w / 2, y - 0.15 * h, x + w / 2, y + 0.35 * h, body)
    _rectangle(picture, x - 0.28 * w, y - h / 2, x + 0.28 * w, y - 0.1 * h, body)
    _rectangle(picture, x - 0.2 * w, y - 0.4 * h, x + 0.2 * w, y - 0.15 * h, _GLASS)
    for side in (-1, 1):
        centre = round(x + side * 0.3 * w), round(y + 0.35 * h)
        cv2.circle(picture, centre, max(2, round(0.2 * h)), _TYRE, cv2.FILLED)


def draw_bag(picture: Image, place: Place, colour: str) -> None:
    """A square with a dark handle."""
    x, y, side, _ = _pixels(picture, place, BAG_SIDE, BAG_SIDE)
    _rectangle(picture, x - side / 4, y - 0.75 * side, x + side / 4, y, _TYRE)
    _rectangle(picture, x - side / 2, y - side / 2, x + side / 2, y + side / 2, COLOURS[colour])


def draw_dog(picture: Image, place: Place, width: float, height: float, colour: str) -> None:
    """A long body on short legs, a head and a tail."""
    x, y, w, h = _pixels(picture, place, width, height)
    body = COLOURS[colour]
    _rectangle(picture, x - 0.4 * w, y - 0.2 * h, x + 0.3 * w, y + 0.2 * h, body)
    _rectangle(picture, x + 0.22 * w, y - h / 2, x + w / 2, y, body)
    _rectangle(picture, x - w / 2, y - 0.45 * h, x - 0.36 * w, y, body)
    for leg in (-0.35 * w, 0.2 * w):
        _rectangle(picture, x + leg, y + 0.15 * h, x + leg + 0.12 * w, y + h / 2, body)


def draw_number(picture: Image, place: Place, width: float, height: float, number: int) -> None:
    """A digit, black on a white plate that fills the lower body of a vehicle from top to bottom."""
    x, y, _, h = _pixels(picture, place, width, height)
    cell = max(1, round(0.5 * h / (_DIGIT_ROWS + 2)))
    left, top = round(x) - 5 * cell // 2, round(y + 0.1 * h) - 7 * cell // 2
    _rectangle(picture, left, top, left + 5 * cell, top + 7 * cell, COLOURS["white"])
    for row, column in _DIGITS[number]:
        corner = left + (column + 1) * cell, top + (row + 1) * cell
        _rectangle(picture, *corner, corner[0] + cell, corner[1] + cell, COLOURS["black"])


def draw_flag(picture: Image, place: Place, width: float, height: float, colour: str) -> None:
    """A small flag on a pole, held beside the body."""
    x, y, w, h = _pixels(picture, place, width, height)
    pole = x + 0.75 * w
    _rectangle(picture, pole - 1, y - h / 2, pole + 1, y + 0.1 * h, _TYRE)
    _rectangle(picture, pole, y - h / 2, pole + 0.6 * w, y - 0.25 * h, COLOURS[colour])


def draw_light(picture: Image, place: Place, colour: str) -> None:
    """A lamp that is on."""
    x, y, side, _ = _pixels(picture, place, LIGHT_SIDE, LIGHT_SIDE)
    centre = round(x), round(y)
    cv2.circle(picture, centre, round(side / 2), COLOURS[colour], cv2.FILLED)
    cv2.circle(picture, centre, max(1, round(side / 8)), COLOURS["white"], cv2.FILLED)


def _pixels(picture: Image, place: Place, width: float, height: float) -> tuple[float, float, float, float]:
    size = picture.shape[0]
    return place[0] * size, place[1] * size, width * size, height * size


def _rectangle(picture: Image, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    start, end = (round(left), round(top)), (round(right) - 1, round(bottom) - 1)
    cv2.rectangle(picture, start, end, colour, cv2.FILLED)
