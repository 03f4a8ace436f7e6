"""A scene -> pictures at any times: backdrop, whoever is there, light, sensor noise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.backdrop import backdrop
from stts_calib.clips.scene import Scene
from stts_calib.clips.sprites import Image, draw_bag, draw_person, draw_vehicle

_NOISE_MARGIN = 64
_NOISE_SHEETS = 4
_NOISE_LEVELS = 32


def render(scene: Scene, times_seconds: Sequence[float], size: int) -> NDArray[np.uint8]:
    """RGB pictures (T, size, size, 3) at `times_seconds`; the same time always gives the same picture."""
    empty = backdrop(scene, size)
    return np.stack([_picture(scene, second, empty) for second in times_seconds])


def _picture(scene: Scene, second: float, empty: Image) -> Image:
    picture = empty.copy()
    if scene.bag is not None and second >= scene.bag.second:
        draw_bag(picture, scene.bag.place, scene.bag.colour)
    seen = [(actor, place) for actor in scene.actors if (place := actor.place_at(second)) is not None]
    # Whose feet are nearer to the bottom stands nearer to the camera.
    for actor, place in sorted(seen, key=lambda one: one[1][1] + one[0].height / 2):
        draw = draw_person if actor.sort == "person" else draw_vehicle
        draw(picture, place, actor.width, actor.height, actor.colour)
    cv2.convertScaleAbs(picture, dst=picture, alpha=scene.light.gain_at(second))
    return _with_noise(picture, scene, second)


def _with_noise(picture: Image, scene: Scene, second: float) -> Image:
    """Adds a random cut of a sheet of noise that is made once: as many new random numbers would take far longer."""
    size = picture.shape[0]
    rng = np.random.default_rng((scene.noise_seed, round(second * 1000)))
    top, left = rng.integers(_NOISE_MARGIN, size=2)
    sheet = _noise_sheets(size)[int(rng.integers(_NOISE_SHEETS))][top : top + size, left : left + size]
    cv2.addWeighted(picture, 1.0, sheet, scene.noise / _NOISE_LEVELS, 0, dst=picture, dtype=cv2.CV_8U)
    return picture


@lru_cache(maxsize=2)
def _noise_sheets(size: int) -> list[NDArray[np.float32]]:
    """Noise with a standard deviation of `_NOISE_LEVELS`."""
    edge = size + _NOISE_MARGIN
    rng = np.random.default_rng(0)
    return [rng.normal(0, _NOISE_LEVELS, (edge, edge, 3)).astype(np.float32) for _ in range(_NOISE_SHEETS)]
