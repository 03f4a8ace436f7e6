"""Draws a scene from a random generator, so that every question about it has one exact answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stts_calib.clips.scene import (
    CLEAR_OF_MIDDLE,
    DURATION_SECONDS,
    Actor,
    Bag,
    Behaviour,
    Light,
    Line,
    ParkedVehicle,
    Place,
    Scene,
    Side,
    Sort,
    Waypoint,
)
from stts_calib.clips.sprites import BAG_SIDE, COLOURS

_PEOPLE = (0.15, 0.40, 0.25, 0.20)
"""Probabilities of 0, 1, 2 and 3 people; below, of 0, 1 and 2 vehicles."""
_VEHICLES = (0.25, 0.55, 0.20)
_SIZE: dict[Sort, Place] = {"person": (0.055, 0.115), "vehicle": (0.16, 0.085), "dog": (0.085, 0.055)}
_SPEED: dict[Sort, tuple[float, float]] = {"person": (0.10, 0.20), "vehicle": (0.15, 0.30), "dog": (0.12, 0.25)}
"""Fractions of the frame a second."""
_LAST_APPEARANCE = 12
"""Whoever comes in is seen for some seconds."""
_MEETING_GAP = 0.08
_CROSSED = 0.35
"""How often a line is looked for that somebody crosses; where nobody can avoid the line, it is crossed anyway."""
_CLEAR_OF_LINE = 0.03
"""Between the line and the body of whoever has crossed it, or never does, at least."""
_LEAST_EARLY = 0.15
_BAG_SECONDS = 3
"""At how many whole seconds a bag is seen at least, with nobody before it."""


@dataclass(frozen=True)
class Route:
    """Where somebody goes; `depth` is where they stop, and `wait` for how many seconds."""

    side: Side
    lane: float
    behaviour: Behaviour
    appears_at: int
    depth: float
    wait: float


def _path(route: Route, start: Waypoint, speed: float) -> list[Waypoint]:
    """From outside the frame to where the behaviour ends."""
    outside, far = start.depth, 1 - start.depth
    path = [start]

    def go_to(target: float) -> None:
        last = path[-1]
        path.append(Waypoint(last.second + abs(target - last.depth) / speed, target))

    if route.behaviour is not Behaviour.cross:
        go_to(route.depth)
        stays = route.behaviour is Behaviour.stay
        until = DURATION_SECONDS + 1 if stays else path[-1].second + route.wait
        path.append(Waypoint(max(until, path[-1].second), route.depth))
    if route.behaviour is Behaviour.turn_back:
        go_to(outside)
    elif route.behaviour is not Behaviour.stay:
        go_to(far)
    return path


class Director:
    """Draws scenes; the same generator state gives the same scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def scene(self) -> Scene:
        rng = self._rng
        actors = tuple(self._people() + self._vehicles())
        return Scene(
            backdrop_seed=int(rng.integers(1 << 31)),
            noise_seed=int(rng.integers(1 << 31)),
            noise=float(rng.uniform(2, 7)),
            light=self._light(),
            line=self._line(actors),
            parked=self._parked() if rng.random() < 0.3 else None,
            actors=actors,
            bag=self._bag(actors),
        )

    def _people(self) -> list[Actor]:
        number = int(self._rng.choice(len(_PEOPLE), p=_PEOPLE))
        if number == 2 and self._rng.random() < 0.5:
            return self._meeting()
        return [self._actor("person") for _ in range(number)]

    def _vehicles(self) -> list[Actor]:
        return [self._actor("vehicle") for _ in range(int(self._rng.choice(len(_VEHICLES), p=_VEHICLES)))]

    def _actor(self, sort: Sort) -> Actor:
        rng = self._rng
        behaviour = Behaviour(rng.choice([one.value for one in Behaviour], p=(0.4, 0.2, 0.25, 0.15)))
        route = Route(
            side=self._side(),
            lane=float(rng.uniform(0.12, 0.88)),
            behaviour=behaviour,
            appears_at=int(rng.integers(1, _LAST_APPEARANCE + 1)),
            depth=float(rng.uniform(0.25, 0.75)),
            wait=float(rng.uniform(2.5, 4.5) if behaviour is Behaviour.pause else rng.uniform(1.2, 2.0)),
        )
        return self._on(route, sort)

    def _side(self) -> Side:
        return Side(self._rng.choice([side.value for side in Side]))

    def _on(self, route: Route, sort: Sort, larger: float = 1.0) -> Actor:
        """Somebody of this sort on the route, with a size, a speed and a colour."""
        rng = self._rng
        width, height = (edge * larger * float(rng.uniform(0.85, 1.2)) for edge in _SIZE[sort])
        half = (width if route.side.is_horizontal else height) / 2
        speed = float(rng.uniform(*_SPEED[sort]))
        # On the edge of the frame between two whole seconds; all but the largest are wholly outside at the earlier one.
        on_edge = route.appears_at - float(rng.uniform(0.1, max(0.95 - half / speed, _LEAST_EARLY)))
        path = tuple(_path(route, Waypoint(on_edge - half / speed, -half), speed))
        colour = str(rng.choice(list(COLOURS)))
        return Actor(sort, colour, width, height, route.side, route.lane, route.behaviour, route.appears_at, path)

    def _meeting(self) -> list[Actor]:
        """Two people come from opposite sides and stand before each other for a while."""
        rng = self._rng
        side, lane = self._side(), float(rng.uniform(0.2, 0.8))
        opposite = {Side.left: Side.right, Side.right: Side.left, Side.top: Side.bottom, Side.bottom: Side.top}[side]
        depth = float(rng.uniform(0.35, 0.65)) - _MEETING_GAP / 2
        second = int(rng.integers(1, 6))
        behaviour = Behaviour.stay if rng.random() < 0.5 else Behaviour.turn_back
        return [
            self._on(Route(side, lane, behaviour, second, depth, wait=6.0), "person"),
            self._on(Route(opposite, lane, behaviour, second, 1 - depth - _MEETING_GAP, wait=6.0), "person"),
        ]

    def _line(self, actors: Sequence[Actor]) -> Line | None:
        """A line that is crossed in about half of the scenes, and on which nobody stands at the end."""
        wanted = self._rng.random() < _CROSSED
        lines = [Line(bool(self._rng.random() < 0.5), float(self._rng.uniform(0.2, 0.8))) for _ in range(24)]
        clear = [line for line in lines if all(is_clear_of(actor, line) for actor in actors)]
        fitting = [line for line in clear if any(crosses(actor, line) for actor in actors) == wanted]
        return next(iter(fitting or clear), None)

    def _light(self) -> Light:
        rng = self._rng
        step = float(rng.choice((0.75, 1.25))) if rng.random() < 0.25 else 1.0
        return Light(
            wave=float(rng.uniform(0, 0.08)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            step=step,
            step_second=float(rng.uniform(2, DURATION_SECONDS - 1)),
        )

    def _parked(self) -> ParkedVehicle:
        rng = self._rng
        width, height = (edge * float(rng.uniform(0.85, 1.2)) for edge in _SIZE["vehicle"])
        place = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 0.9))
        return ParkedVehicle(place, width, height, str(rng.choice(list(COLOURS))))

    def _bag(self, actors: Sequence[Actor]) -> Bag | None:
        rng = self._rng
        people = [actor for actor in actors if actor.sort == "person"]
        if not people or rng.random() < 0.3:
            return None
        for _ in range(12):
            person = people[int(rng.integers(len(people)))]
            first, last = person.path[0].second + 0.5, min(person.path[-1].second, DURATION_SECONDS - _BAG_SECONDS)
            second = float(rng.uniform(first, max(first, last)))
            place = person.place_at(second)
            if place is None:
                continue
            # Beside the feet, so that whoever stays does not hide it.
            beside = float(rng.choice((-1, 1))) * (person.width / 2 + 0.035)
            bag = Bag(
                place=(place[0] + beside, place[1] + person.height / 2 - 0.01),
                second=second,
                colour=str(rng.choice(list(COLOURS))),
            )
            if _lies_well(bag, actors):
                return bag
        return None


def _lies_well(bag: Bag, actors: Sequence[Actor]) -> bool:
    """Whether it is clear in which quarter of the frame the bag lies, and it is seen for long enough."""
    inside = all(0.05 < at < 0.95 and abs(at - 0.5) > CLEAR_OF_MIDDLE for at in bag.place)
    seconds = range(int(np.ceil(bag.second)), int(DURATION_SECONDS) + 1)
    return inside and sum(not any(_hides(actor, bag, now) for actor in actors) for now in seconds) >= _BAG_SECONDS


def _hides(actor: Actor, bag: Bag, second: float) -> bool:
    place = actor.place_at(second)
    if place is None:
        return False
    near = BAG_SIDE / 2
    return (
        abs(place[0] - bag.place[0]) < actor.width / 2 + near and abs(place[1] - bag.place[1]) < actor.height / 2 + near
    )


def crosses(actor: Actor, line: Line) -> bool:
    """Whether the actor's middle comes to lie beyond the line before the clip ends."""
    return actor.side.is_horizontal == line.upright and _depth_of(line, actor) < actor.deepest


def is_clear_of(actor: Actor, line: Line) -> bool:
    """Whether nobody could argue about it."""
    beside = actor.side.is_horizontal != line.upright
    distance = abs(actor.lane - line.at) if beside else abs(_depth_of(line, actor) - actor.deepest)
    return distance >= actor.half(line.upright) + _CLEAR_OF_LINE


def _depth_of(line: Line, actor: Actor) -> float:
    return line.at if actor.side in (Side.left, Side.top) else 1 - line.at
