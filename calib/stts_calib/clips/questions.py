"""Questions about a scene, each with one exact, short answer.

A kind is asked only where its answer is beyond dispute: about the colour of *the* moving person only if there is
exactly one, about the line only if nobody stops on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stts_calib.clips.director import crosses
from stts_calib.clips.scene import DURATION_SECONDS, Actor, Behaviour, Scene, Sort

_SORTS: tuple[Sort, ...] = ("person", "vehicle")
_PLURAL: dict[Sort, str] = {"person": "people", "vehicle": "vehicles"}
_MEETING_DISTANCE = 0.12
_NO_MEETING_DISTANCE = 0.25
_MEETING_SECONDS = 2.0


@dataclass(frozen=True)
class Question:
    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class Kind:
    name: str
    needs_time: bool
    """One frame, the right one, does not tell the answer."""
    ask: Callable[[Scene], Iterator[tuple[str, str]]]
    """Texts and answers of this kind for a scene; none where there would be dispute."""


def _colour(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        if actor := scene.only(sort):
            yield f"What colour was the moving {sort}?", actor.colour


def _direction(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        actor = scene.only(sort)
        if actor and actor.behaviour is not Behaviour.turn_back:
            yield f"Which way did the {sort} move?", actor.side.value


def _count(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        yield f"How many {_PLURAL[sort]} came in?", str(sum(actor.sort == sort for actor in scene.actors))


def _left_behind(scene: Scene) -> Iterator[tuple[str, str]]:
    where = "nothing"
    if scene.bag is not None:
        x, y = scene.bag.place
        where = f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
    yield "What was left behind, and where?", where


def _line(scene: Scene) -> Iterator[tuple[str, str]]:
    if scene.line is not None:
        line = scene.line
        yield "Did anyone cross the line?", _yes_no(any(crosses(actor, line) for actor in scene.actors))


def _second(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        if actor := scene.only(sort):
            yield f"At what second did the {sort} appear?", str(actor.appears_at)


def _stop(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        actor = scene.only(sort)
        if actor is None or actor.behaviour is Behaviour.turn_back:
            continue
        stood = sum(min(end, DURATION_SECONDS) - start for start, end in actor.stops)
        seen_for = DURATION_SECONDS - actor.appears_at
        if stood >= 2 or (not actor.stops and seen_for >= 4):
            yield f"Did the {sort} stop?", _yes_no(stood > 0)


def _order(scene: Scene) -> Iterator[tuple[str, str]]:
    person, vehicle = scene.only("person"), scene.only("vehicle")
    if person and vehicle and abs(person.appears_at - vehicle.appears_at) >= 2:
        first = "person" if person.appears_at < vehicle.appears_at else "vehicle"
        yield "Which came in first, the person or the vehicle?", first


def _meeting(scene: Scene) -> Iterator[tuple[str, str]]:
    people = [actor for actor in scene.actors if actor.sort == "person"]
    if len(people) != 2:
        return
    distances = _distances(*people)
    together = (distances < _MEETING_DISTANCE).mean() * DURATION_SECONDS if distances.size else 0.0
    if together >= _MEETING_SECONDS:
        yield "Did two people meet?", "yes"
    elif not (distances < _NO_MEETING_DISTANCE).any():
        yield "Did two people meet?", "no"


def _distances(one: Actor, other: Actor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Between their middles, ten times a second; infinite while one of them is not there."""
    distances = []
    for second in np.arange(0, DURATION_SECONDS, 0.1).tolist():
        a, b = one.place_at(second), other.place_at(second)
        distances.append(np.inf if a is None or b is None else float(np.hypot(a[0] - b[0], a[1] - b[1])))
    return np.array(distances)


def _yes_no(fact: bool) -> str:
    return "yes" if fact else "no"


KINDS = (
    Kind("colour", needs_time=False, ask=_colour),
    Kind("direction", needs_time=True, ask=_direction),
    Kind("count", needs_time=True, ask=_count),
    Kind("left behind", needs_time=True, ask=_left_behind),
    Kind("line", needs_time=True, ask=_line),
    Kind("second", needs_time=True, ask=_second),
    Kind("stop", needs_time=True, ask=_stop),
    Kind("order", needs_time=True, ask=_order),
    Kind("meeting", needs_time=False, ask=_meeting),
)


def questions_about(scene: Scene) -> list[Question]:
    """Every question that has an exact answer in this scene, in the order of `KINDS`."""
    return [Question(kind.name, *asked) for kind in KINDS for asked in kind.ask(scene)]
