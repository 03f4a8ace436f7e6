"""Where something moves or stands, exactly: what a scorer of tokens should find."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.pointing import box_around
from stts_calib.clips.scene import Place, Scene
from stts_calib.clips.sprites import BAG_SIDE, LIGHT_SIDE

_MOVING, _STANDING = 1.0, 0.5
"""What a group is worth that holds somebody who moves, or somebody or something that came and stays."""
_AROUND = 0.7
"""The same of a group that holds the rest of it, as a share."""


class Sighting(NamedTuple):
    """Somebody or something that is not the ground, in one frame."""

    frame: int
    middle: Place
    width: float
    height: float
    moves: bool

    def covered(self, side: int, share: float) -> tuple[slice, slice]:
        """Rows and columns, of `side` each, of the groups under its middle `share`, as far as they are in the frame."""
        box = box_around(self.middle, share * self.width, share * self.height)
        return _between(box.top, box.bottom, side), _between(box.left, box.right, side)

    @property
    def is_inside(self) -> bool:
        """Whether its middle is in the frame."""
        return all(0 < at < 1 for at in self.middle)


def sightings(scene: Scene, times_seconds: Sequence[float]) -> Iterator[Sighting]:
    """Everything that moves or came, in frames 2 to T: moving is being elsewhere than one frame earlier."""
    for number, (before, now) in enumerate(pairwise(times_seconds), start=1):
        across, down = scene.camera.shift_at(now)
        for actor in scene.actors:
            place = actor.place_at(now)
            if place is not None:
                middle = place[0] + across, place[1] + down
                yield Sighting(number, middle, actor.width, actor.height, place != actor.place_at(before))
        if scene.bag is not None and now >= scene.bag.second:
            middle = scene.bag.place[0] + across, scene.bag.place[1] + down
            yield Sighting(number, middle, BAG_SIDE, BAG_SIDE, moves=before < scene.bag.second)
        if scene.flash is not None and scene.flash.is_on(now):
            middle = scene.flash.place[0] + across, scene.flash.place[1] + down
            yield Sighting(number, middle, LIGHT_SIDE, LIGHT_SIDE, moves=True)


def moving_groups(scene: Scene, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.bool_]:
    """(T, groups): the groups that hold the middle part of an actor who was elsewhere one frame earlier.

    The first frame has none.
    """
    found = np.zeros((len(times_seconds), groups_per_side, groups_per_side), dtype=np.bool_)
    for one in _movers(scene, times_seconds):
        found[one.frame][one.covered(groups_per_side, 0.5)] = True
    return found.reshape(len(times_seconds), -1)


def moving_objects(scene: Scene, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.bool_]:
    """(sightings, T, groups): the same for each sighting of a mover whose middle is in the frame, on its own."""
    inside = [one for one in _movers(scene, times_seconds) if one.is_inside]
    found = np.zeros((len(inside), len(times_seconds), groups_per_side, groups_per_side), dtype=np.bool_)
    for number, one in enumerate(inside):
        found[number, one.frame][one.covered(groups_per_side, 0.5)] = True
    return found.reshape(len(inside), len(times_seconds), groups_per_side**2)


def worth_of_groups(scene: Scene, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.float32]:
    """(T, groups), 0 to 1: how much there is to see in a group that the ground does not tell.

    The first frame, which is always kept, is worth nothing.
    """
    worth = np.zeros((len(times_seconds), groups_per_side, groups_per_side), dtype=np.float32)
    for one in sightings(scene, times_seconds):
        value = _MOVING if one.moves else _STANDING
        for share, part in ((1.0, _AROUND * value), (0.5, value)):
            held = worth[one.frame][one.covered(groups_per_side, share)]
            np.maximum(held, part, out=held)
    return worth.reshape(len(times_seconds), -1)


def _movers(scene: Scene, times_seconds: Sequence[float]) -> Iterator[Sighting]:
    """Actors and flashes; an object that was left behind does not count."""
    return (one for one in sightings(replace(scene, bag=None), times_seconds) if one.moves)


def _between(low: float, high: float, side: int) -> slice:
    return slice(max(math.floor(low * side), 0), max(math.floor(high * side) + 1, 0))
