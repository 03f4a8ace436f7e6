"""A scene -> pictures at any times: backdrop, whoever is there, light, rain, sensor noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.backdrop import backdrop
from stts_calib.clips.scene import Actor, Camera, Place, Scene
from stts_calib.clips.sprites import (
    Image,
    draw_bag,
    draw_dog,
    draw_flag,
    draw_light,
    draw_number,
    draw_person,
    draw_vehicle,
)

_NOISE_MARGIN = 64
_NOISE_SHEETS = 4
_NOISE_LEVELS = 32
_RAIN_COLOUR = (190, 195, 200)


def render(
    scene: Scene, times_seconds: Sequence[float], size: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """RGB pictures (T, size, size, 3) at `times_seconds`, in `out` if given.

    The same time always gives the same picture.
    """
    ground = _Ground(scene, size)
    pictures = np.empty((len(times_seconds), size, size, 3), dtype=np.uint8) if out is None else out
    for picture, second in zip(pictures, times_seconds, strict=True):
        ground.onto(picture, second)
        _draw_all(picture, scene, second)
    return pictures


class _Ground:
    """The empty scene, as far as a moving camera sees it."""

    def __init__(self, scene: Scene, size: int) -> None:
        self._camera, self._size = scene.camera, size
        edge = 0 if self._camera.is_still else math.ceil(_reach(self._camera) * size) + 1
        self._margin = edge
        # What a moving camera sees beyond the edges is mirrored.
        self._wide = np.pad(backdrop(scene, size), ((edge, edge), (edge, edge), (0, 0)), mode="symmetric")

    def onto(self, picture: Image, second: float) -> None:
        across, down = (self._margin - round(shift * self._size) for shift in self._camera.ground_at(second))
        picture[:] = self._wide[down : down + self._size, across : across + self._size]


def _reach(camera: Camera) -> float:
    return camera.shake + abs(camera.pan) / 2


def _draw_all(picture: Image, scene: Scene, second: float) -> None:
    """Everything but the ground."""
    across, down = scene.camera.shift_at(second)

    def shown(place: Place) -> Place:
        return place[0] + across, place[1] + down

    if scene.bag is not None and second >= scene.bag.second:
        draw_bag(picture, shown(scene.bag.place), scene.bag.colour)
    seen = [(actor, place) for actor in scene.actors if (place := actor.place_at(second)) is not None]
    # Whose feet are nearer to the bottom stands nearer to the camera.
    for actor, place in sorted(seen, key=lambda one: one[1][1] + one[0].height / 2):
        _draw(picture, actor, shown(place))
    cv2.convertScaleAbs(picture, dst=picture, alpha=scene.light.gain_at(second))
    if scene.flash is not None and scene.flash.is_on(second):
        draw_light(picture, shown(scene.flash.place), scene.flash.colour)
    if scene.rain:
        _rain(picture, scene, second)
    _add_noise(picture, scene, second)


_DRAW = {"person": draw_person, "vehicle": draw_vehicle, "dog": draw_dog}


def _draw(picture: Image, actor: Actor, place: Place) -> None:
    _DRAW[actor.sort](picture, place, actor.width, actor.height, actor.colour)
    if actor.number is not None:
        draw_number(picture, place, actor.width, actor.height, actor.number)
    if actor.flag is not None:
        draw_flag(picture, place, actor.width, actor.height, actor.flag)


def _rain(picture: Image, scene: Scene, second: float) -> None:
    """Drops as short bright strokes, elsewhere in every picture."""
    size = picture.shape[0]
    rng = np.random.default_rng((scene.noise_seed, round(second * 1000), 1))
    starts = rng.integers(-size // 8, size, (scene.rain, 2))
    ends = starts + np.array((size // 40, size // 10))
    strokes = np.stack((starts, ends), axis=1).astype(np.int32)
    cv2.polylines(picture, list(strokes), isClosed=False, color=_RAIN_COLOUR)


def _add_noise(picture: Image, scene: Scene, second: float) -> None:
    """Adds a random cut of a sheet of noise that is made once: as many new random numbers would take far longer."""
    size = picture.shape[0]
    rng = np.random.default_rng((scene.noise_seed, round(second * 1000)))
    top, left = rng.integers(_NOISE_MARGIN, size=2)
    sheet = _noise_sheets(size)[int(rng.integers(_NOISE_SHEETS))][top : top + size, left : left + size]
    cv2.addWeighted(picture, 1.0, sheet, scene.noise / _NOISE_LEVELS, 0, dst=picture, dtype=cv2.CV_8U)


@lru_cache(maxsize=2)
def _noise_sheets(size: int) -> list[NDArray[np.float32]]:
    """Noise with a standard deviation of `_NOISE_LEVELS`."""
    edge = size + _NOISE_MARGIN
    rng = np.random.default_rng(0)
    return [rng.normal(0, _NOISE_LEVELS, (edge, edge, 3)).astype(np.float32) for _ in range(_NOISE_SHEETS)]
