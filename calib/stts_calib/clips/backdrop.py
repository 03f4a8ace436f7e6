"""The static part of a picture: a textured, greyish ground with flat shapes on it, the line, a parked vehicle."""

from __future__ import annotations

import cv2
import numpy as np

from stts_calib.clips.scene import Line, Scene
from stts_calib.clips.sprites import Image, draw_vehicle

_LINE_COLOUR = (250, 235, 150)


def backdrop(scene: Scene, size: int) -> Image:
    """The empty scene, RGB (size, size, 3), without light changes and noise."""
    rng = np.random.default_rng(scene.backdrop_seed)
    ground = rng.uniform(85, 150) + rng.uniform(-10, 10, 3)
    field = np.full((size, size, 3), ground, dtype=np.float32)
    for cells, strength in ((4, 14.0), (18, 9.0), (63, 6.0)):
        texture = rng.uniform(-strength, strength, (cells, cells, 1)).astype(np.float32)
        field += cv2.resize(texture, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    for _ in range(int(rng.integers(2, 7))):
        left, top = rng.uniform(-0.1, 0.9, 2) * size
        width, height = rng.uniform(0.05, 0.35, 2) * size
        rows = slice(max(round(top), 0), max(round(top + height), 0))
        columns = slice(max(round(left), 0), max(round(left + width), 0))
        field[rows, columns] += rng.uniform(-30, 30) + rng.uniform(-8, 8, 3).astype(np.float32)
    picture: Image = np.clip(field, 0, 255).astype(np.uint8)
    if scene.line is not None:
        _draw_line(picture, scene.line)
    if scene.parked is not None:
        parked = scene.parked
        draw_vehicle(picture, parked.place, parked.width, parked.height, parked.colour)
    return picture


def _draw_line(picture: Image, line: Line) -> None:
    size = picture.shape[0]
    middle, half = round(line.at * size), max(1, size // 84)
    if line.upright:
        picture[:, middle - half : middle + half] = _LINE_COLOUR
    else:
        picture[middle - half : middle + half] = _LINE_COLOUR
