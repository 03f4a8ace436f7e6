"""What happens in a clip: actors on their paths, a line on the ground, an object left behind, the light.

Places are fractions of the frame's side, from the top left; times are seconds from the clip's start. A scene is plain
data: `director` draws one, `render` shows it, `questions` asks about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Literal

import numpy as np

DURATION_SECONDS = 15.0
CLEAR_OF_MIDDLE = 0.08
"""What an answer places in a quarter of the frame lies this far from the lines that part it."""
FLASH_SECONDS = 0.2
_SHAKE_RATES = (7.9, 11.3)
"""Radians a second across and down: neither is a multiple of a frame rate."""

Sort = Literal["person", "vehicle", "dog"]
"""Dogs are in the hard clips only."""
Place = tuple[float, float]


class Side(str, Enum):
    """Where an actor comes from; the value is the direction in which it then moves."""

    left = "right"
    right = "left"
    top = "down"
    bottom = "up"

    @property
    def is_horizontal(self) -> bool:
        return self in (Side.left, Side.right)

    def place(self, depth: float, lane: float) -> Place:
        """The place `depth` into the frame from this side, `lane` across."""
        along = depth if self in (Side.left, Side.top) else 1 - depth
        return (along, lane) if self.is_horizontal else (lane, along)


class Behaviour(str, Enum):
    """What an actor does after coming in."""

    cross = "cross"
    """Goes straight through and leaves on the other side."""
    stay = "stay"
    """Stops inside and stays to the end of the clip."""
    pause = "pause"
    """Stops for a while, then goes on in the same direction and leaves."""
    turn_back = "turn back"
    """Stops for a moment, then leaves where it came from."""


@dataclass(frozen=True)
class Waypoint:
    second: float
    depth: float


@dataclass(frozen=True)
class Actor:
    """Somebody or something that comes in from a side and moves along its lane."""

    sort: Sort
    colour: str
    width: float
    height: float
    side: Side
    lane: float
    behaviour: Behaviour
    appears_at: int
    """The first whole second at which its middle is inside the frame; a second earlier nothing of it is."""
    path: tuple[Waypoint, ...]
    number: int | None = None
    """A digit on its side; hard clips only, as is the colour of a flag it carries."""
    flag: str | None = None

    def depth_at(self, second: float) -> float | None:
        """How far into the frame its middle is; None before it comes and after it has left."""
        if not self.path[0].second <= second <= self.path[-1].second:
            return None
        times, depths = [point.second for point in self.path], [point.depth for point in self.path]
        return float(np.interp(second, times, depths))

    def place_at(self, second: float) -> Place | None:
        depth = self.depth_at(second)
        return None if depth is None else self.side.place(depth, self.lane)

    @property
    def deepest(self) -> float:
        """How far into the frame its middle comes before the clip ends."""
        seen = [point.depth for point in self.path if point.second <= DURATION_SECONDS]
        last = self.depth_at(DURATION_SECONDS)
        return max(seen if last is None else [*seen, last])

    def half(self, upright: bool) -> float:
        """Half of its extent across an upright line, or across a level one."""
        return (self.width if upright else self.height) / 2

    @property
    def stops(self) -> list[tuple[float, float]]:
        """(from, to) of every time it stands still."""
        return [(a.second, b.second) for a, b in pairwise(self.path) if a.depth == b.depth]


@dataclass(frozen=True)
class Bag:
    """A small object that a person leaves behind; it stays to the end of the clip."""

    place: Place
    second: float
    colour: str


@dataclass(frozen=True)
class Line:
    """A painted line across the whole frame: x = `at` if it is upright, else y = `at`."""

    upright: bool
    at: float


@dataclass(frozen=True)
class ParkedVehicle:
    """Stands there before, during and after the clip."""

    place: Place
    width: float
    height: float
    colour: str


@dataclass(frozen=True)
class Light:
    """Brightness over time: a slow wave and, sometimes, a sudden change that stays."""

    wave: float
    phase: float
    step: float
    step_second: float
    level: float = 1.0
    """Light level of the whole clip: low at night."""

    def gain_at(self, second: float) -> float:
        slow = 1 + self.wave * float(np.sin(self.phase + 2 * np.pi * second / DURATION_SECONDS))
        return self.level * slow * (self.step if second >= self.step_second else 1.0)


@dataclass(frozen=True)
class Flash:
    """A light that is on for so short a time that exactly one of 64 evenly spaced frames shows it."""

    place: Place
    second: float
    """The middle of it, the time of one of those frames."""
    colour: str

    def is_on(self, second: float) -> bool:
        return abs(second - self.second) <= FLASH_SECONDS / 2


@dataclass(frozen=True)
class Camera:
    """How the camera moves, in fractions of the frame's side."""

    shake: float = 0.0
    """The furthest that everything is moved from where it is, each way."""
    phase: float = 0.0
    pan: float = 0.0
    """How far it turns to the right in the course of the clip. Only the ground shows it: whoever moves is placed in the
    frame, so that what is asked about them has one answer."""

    @property
    def is_still(self) -> bool:
        return self.shake == 0 and self.pan == 0

    def shift_at(self, second: float) -> Place:
        """By how much everything is moved."""
        if self.shake == 0:
            return 0.0, 0.0
        across, down = (np.sin(self.phase + rate * second) for rate in _SHAKE_RATES)
        return float(across) * self.shake, float(down) * self.shake

    def ground_at(self, second: float) -> Place:
        """By how much the ground is moved."""
        across, down = self.shift_at(second)
        return across - self.pan * (second / DURATION_SECONDS - 0.5), down


@dataclass(frozen=True)
class Scene:
    """Everything about a clip but its pixels' noise."""

    backdrop_seed: int
    noise_seed: int
    noise: float
    """Standard deviation of the sensor's noise, in levels of 255."""
    light: Light
    line: Line | None
    parked: ParkedVehicle | None
    actors: tuple[Actor, ...]
    bag: Bag | None
    camera: Camera = Camera()
    rain: int = 0
    """Drops in every picture."""
    flash: Flash | None = None

    def only(self, sort: Sort) -> Actor | None:
        """The one actor of this sort; None if there is none, or several."""
        found = [actor for actor in self.actors if actor.sort == sort]
        return found[0] if len(found) == 1 else None
