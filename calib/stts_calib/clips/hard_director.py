"""Draws the harder scenes: each is built around something that pruned models lose first, or before a bad camera."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from stts_calib.clips.director import Director, Route
from stts_calib.clips.scene import (
    DURATION_SECONDS,
    Actor,
    Behaviour,
    Camera,
    Flash,
    Light,
    Scene,
    Side,
    Sort,
)
from stts_calib.clips.sprites import COLOURS

FLASH_GRID = 64
"""A flash is seen by exactly one of this many evenly spaced frames."""
MOST_COUNTED = 9
_SORTS: tuple[Sort, ...] = ("person", "vehicle", "dog")
_COLOURS = tuple(COLOURS)
_LARGER = (1.3, 2.0)
"""How much larger a vehicle with a number is than others: its digit is 10 or 15 pixels high in a frame of 252."""
_GAP_SECONDS = 2
"""Between those whose order is asked."""
_APART = 0.09
"""Between the lanes of two who come from one side, or opposite ones, at about the same time."""
_TRIES = 30


class Theme(str, Enum):
    usual = "usual"
    """What happens in the plain clips, before a bad camera."""
    crowd = "crowd"
    order = "order"
    alike = "alike"
    detail = "detail"
    flash = "flash"


class Condition(str, Enum):
    """What is in the way of seeing."""

    clear = "clear"
    shake = "shake"
    night = "night"
    rain = "rain"
    pan = "pan"


_THEMES = {
    Theme.usual: 0.24,
    Theme.crowd: 0.18,
    Theme.order: 0.14,
    Theme.alike: 0.16,
    Theme.detail: 0.16,
    Theme.flash: 0.12,
}
_BAD_CONDITIONS = (Condition.shake, Condition.night, Condition.rain, Condition.pan)
_CLEAR = 0.7
"""How often a scene that is hard already is seen well."""


@dataclass(frozen=True)
class HardScene:
    """A scene, and what it was drawn for."""

    scene: Scene
    theme: Theme
    condition: Condition


class HardDirector(Director):
    """Draws harder scenes; the same generator state gives the same one."""

    def hard_scene(self) -> HardScene:
        theme = list(_THEMES)[int(self._rng.choice(len(_THEMES), p=list(_THEMES.values())))]
        clear = theme is not Theme.usual and self._rng.random() < _CLEAR
        condition = Condition.clear if clear else _BAD_CONDITIONS[int(self._rng.integers(len(_BAD_CONDITIONS)))]
        scene = self.scene() if theme is Theme.usual else self._staged(self._cast(theme), theme)
        return HardScene(self._seen_in(scene, condition), theme, condition)

    def _staged(self, actors: Iterable[Actor], theme: Theme) -> Scene:
        rng = self._rng
        return Scene(
            backdrop_seed=int(rng.integers(1 << 31)),
            noise_seed=int(rng.integers(1 << 31)),
            noise=float(rng.uniform(2, 7)),
            light=self._light(),
            line=None,
            parked=self._parked() if rng.random() < 0.2 else None,
            actors=tuple(actors),
            bag=None,
            flash=self._flash() if theme is Theme.flash and rng.random() < 0.65 else None,
        )

    def _cast(self, theme: Theme) -> list[Actor]:
        if theme is Theme.crowd:
            return self._crowd()
        if theme is Theme.order:
            return self._three()
        if theme is Theme.alike:
            return self._alike() + self._extras(1, ("person", "dog"))
        if theme is Theme.detail:
            return self._detailed()
        return self._extras(2, _SORTS)

    def _crowd(self) -> list[Actor]:
        """Up to nine of one sort, and up to two of each other sort."""
        rng = self._rng
        many = _SORTS[int(rng.choice(3, p=(0.5, 0.35, 0.15)))]
        counts = {sort: int(rng.integers(0, MOST_COUNTED + 1 if sort == many else 3)) for sort in _SORTS}
        return self._apart([sort for sort in _SORTS for _ in range(counts[sort])])

    def _apart(self, sorts: Iterable[Sort]) -> list[Actor]:
        """One of each of these sorts, none of whom hides another for long; fewer if there is no room."""
        actors: list[Actor] = []
        for sort in sorts:
            for _ in range(_TRIES):
                actor = self._actor(sort)
                if all(_keep_apart(actor, other) for other in actors):
                    actors.append(actor)
                    break
        return actors

    def _extras(self, most: int, sorts: tuple[Sort, ...]) -> list[Actor]:
        number = int(self._rng.integers(0, most + 1))
        return self._apart([sorts[int(self._rng.integers(len(sorts)))] for _ in range(number)])

    def _three(self) -> list[Actor]:
        """Three of different colours, one after the other."""
        colours = self._rng.permutation(len(_COLOURS))[:3].tolist()
        seconds = self._seconds(3)
        sorts = [_SORTS[int(self._rng.integers(3))] for _ in seconds]
        return [
            replace(self._coming(sort, second), colour=_COLOURS[colour])
            for sort, second, colour in zip(sorts, seconds, colours, strict=True)
        ]

    def _alike(self) -> list[Actor]:
        """Two vehicles of one colour with different numbers, one of which may stop."""
        rng = self._rng
        numbers, colour = rng.permutation(10)[:2].tolist(), _COLOURS[int(rng.integers(len(_COLOURS)))]
        ways = [Behaviour.cross, Behaviour.stay if rng.random() < 0.7 else Behaviour.cross]
        order = rng.permutation(2).tolist()
        # On opposite halves of the frame, so that they cannot hide each other's numbers.
        lanes = rng.permutation([float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.6, 0.85))]).tolist()
        return [
            replace(self._numbered(second, ways[turn], lane), number=number, colour=colour)
            for second, turn, number, lane in zip(self._seconds(2), order, numbers, lanes, strict=True)
        ]

    def _detailed(self) -> list[Actor]:
        """A vehicle with a number and a person with a flag, or one of them, and perhaps a dog."""
        rng, actors = self._rng, list[Actor]()
        which = int(rng.integers(3))
        if which != 1:
            lane = float(rng.uniform(0.2, 0.8))
            way = (Behaviour.cross, Behaviour.stay, Behaviour.pause)[int(rng.integers(3))]
            vehicle = self._numbered(int(rng.integers(1, 11)), way, lane)
            actors.append(replace(vehicle, number=int(rng.integers(10))))
        if which != 0:
            flag = _COLOURS[int(rng.integers(len(_COLOURS)))]
            person = replace(self._actor("person"), flag=flag)
            actors.append(person)
        return actors + self._extras(1, ("dog",))

    def _numbered(self, second: int, behaviour: Behaviour, lane: float) -> Actor:
        """A vehicle that comes from the left or the right, large enough to carry a number."""
        side = Side.left if self._rng.random() < 0.5 else Side.right
        route = Route(side, lane, behaviour, second, float(self._rng.uniform(0.3, 0.7)), 3.5)
        return self._on(route, "vehicle", float(self._rng.uniform(*_LARGER)))

    def _coming(self, sort: Sort, second: int) -> Actor:
        """Somebody who comes in at this second."""
        rng = self._rng
        way = (Behaviour.cross, Behaviour.stay, Behaviour.turn_back)[int(rng.integers(3))]
        depth = float(rng.uniform(0.25, 0.75))
        return self._on(Route(self._side(), float(rng.uniform(0.12, 0.88)), way, second, depth, 2.0), sort)

    def _seconds(self, count: int) -> list[int]:
        """Whole seconds, ascending, with gaps between them."""
        spare = 12 - (count - 1) * (_GAP_SECONDS - 1)
        drawn = np.sort(self._rng.permutation(spare)[:count]) + 1
        return [int(second) + number * (_GAP_SECONDS - 1) for number, second in enumerate(drawn)]

    def _flash(self) -> Flash:
        rng = self._rng
        # Clear of the lines that part the frame in quarters.
        across, down = (rng.choice((0.25, 0.75), 2) + rng.uniform(-0.12, 0.12, 2)).tolist()
        second = float(rng.integers(1, FLASH_GRID)) * DURATION_SECONDS / (FLASH_GRID - 1)
        return Flash((across, down), second, _BRIGHT[int(rng.integers(len(_BRIGHT)))])

    def _seen_in(self, scene: Scene, condition: Condition) -> Scene:
        rng = self._rng
        if condition is Condition.shake:
            return replace(scene, camera=Camera(float(rng.uniform(0.008, 0.03)), float(rng.uniform(0, 6.28))))
        if condition is Condition.night:
            light: Light = replace(scene.light, level=float(rng.uniform(0.25, 0.45)), step=1.0)
            return replace(scene, light=light, noise=float(rng.uniform(9, 16)))
        if condition is Condition.rain:
            return replace(scene, rain=int(rng.integers(40, 130)))
        if condition is Condition.pan:
            pan = float(rng.choice((-1, 1)) * rng.uniform(0.25, 0.7))
            # What is on the ground would leave the places that the questions know.
            return replace(scene, camera=Camera(pan=pan), line=None, bag=None, parked=None)
        return scene


_BRIGHT = ("red", "yellow", "green", "blue", "white", "purple")
"""Colours of flashes, which a picture at night shows too."""


def _keep_apart(one: Actor, other: Actor) -> bool:
    """Whether neither hides the other for long: not in about the same lane at about the same time."""
    if one.side.is_horizontal != other.side.is_horizontal or abs(one.lane - other.lane) >= _APART:
        return True
    return one.path[-1].second < other.path[0].second or other.path[-1].second < one.path[0].second
