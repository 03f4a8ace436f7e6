"""Where something moves, exactly: what a scorer of tokens should find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.scene import Actor, Place, Scene


def moving_groups(scene: Scene, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.bool_]:
    """(T, groups): the groups that hold the middle part of an actor who was elsewhere one frame earlier.

    The first frame has none.
    """
    found = np.zeros((len(times_seconds), groups_per_side, groups_per_side), dtype=np.bool_)
    for number, (before, now) in enumerate(pairwise(times_seconds), start=1):
        for actor in scene.actors:
            place = actor.place_at(now)
            if place is not None and place != actor.place_at(before):
                found[number][_covered(actor, place, groups_per_side)] = True
    return found.reshape(len(times_seconds), -1)


def _covered(actor: Actor, place: Place, side: int) -> tuple[slice, slice]:
    """Rows and columns of groups under the middle half of the actor, inside the frame."""
    columns, rows = (
        slice(max(math.floor((at - extent / 4) * side), 0), max(math.floor((at + extent / 4) * side) + 1, 0))
        for at, extent in zip(place, (actor.width, actor.height), strict=True)
    )
    return rows, columns
