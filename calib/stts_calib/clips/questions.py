"""Questions about a scene, each with one exact, short answer.

A kind is asked only where its answer is beyond dispute: about the colour of *the* moving person only if there is
exactly one, about the line only if nobody stops on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stts_calib.clips.director import crosses
from stts_calib.clips.pointing import Box, points_at
from stts_calib.clips.scene import CLEAR_OF_MIDDLE, DURATION_SECONDS, Actor, Behaviour, Place, Scene, Sort

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
    target: Box | None = None
    """Where a point has to lie; None where the answer is right to the letter or not at all."""

    def is_right(self, answer: str) -> bool:
        if self.target is None:
            return answer == self.answer
        return points_at(answer, self.target)


@dataclass(frozen=True)
class Kind:
    name: str
    needs_time: bool
    """One frame, the right one, does not tell the answer."""
    takes: str
    """What it takes to answer."""
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
    where = "nothing" if scene.bag is None else quarter(scene.bag.place, margin=0)
    assert where is not None
    yield "Where was something left behind?", where


def _line(scene: Scene) -> Iterator[tuple[str, str]]:
    if scene.line is None:
        return
    line = scene.line
    yield "Did anyone cross the line?", yes_no(any(crosses(actor, line) for actor in scene.actors))
    for sort in _SORTS:
        if actor := scene.only(sort):
            yield f"Did the {sort} cross the line?", yes_no(crosses(actor, line))


def _line_place(scene: Scene) -> Iterator[tuple[str, str]]:
    if scene.line is not None and abs(scene.line.at - 0.5) >= CLEAR_OF_MIDDLE:
        ends = ("left", "right") if scene.line.upright else ("top", "bottom")
        yield "Where is the line?", ends[scene.line.at > 0.5]


def _second(scene: Scene) -> Iterator[tuple[str, str]]:
    """The first whole second at which its middle is in the frame: what a frame a second shows."""
    for sort in _SORTS:
        if actor := scene.only(sort):
            yield f"At what second did the {sort} appear?", str(actor.appears_at)


def _place(scene: Scene) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng((scene.backdrop_seed, 1))
    for sort in _SORTS:
        actor = scene.only(sort)
        if actor is None:
            continue
        for second in rng.choice(np.arange(actor.appears_at - 1, int(DURATION_SECONDS) + 1), 2, replace=False).tolist():
            where = quarter(actor.place_at(second), margin=CLEAR_OF_MIDDLE)
            if where is not None:
                yield f"Where was the {sort} at second {second}?", where


def quarter(place: Place | None, margin: float) -> str | None:
    """In words; None where the middle of what is there is on the edge or near the lines that part the frame."""
    if place is None:
        return "not there"
    if any(abs(at - 0.5) < margin or not 0 < at < 1 for at in place):
        return None
    return f"{'top' if place[1] < 0.5 else 'bottom'} {'left' if place[0] < 0.5 else 'right'}"


def _stop(scene: Scene) -> Iterator[tuple[str, str]]:
    for sort in _SORTS:
        actor = scene.only(sort)
        if actor is None or actor.behaviour is Behaviour.turn_back:
            continue
        stood = sum(min(end, DURATION_SECONDS) - start for start, end in actor.stops)
        seen_for = DURATION_SECONDS - actor.appears_at
        if stood >= 2 or (not actor.stops and seen_for >= 4):
            yield f"Did the {sort} stop?", yes_no(stood > 0)


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
    together = (distances < _MEETING_DISTANCE).mean() * DURATION_SECONDS
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


def yes_no(fact: bool) -> str:
    return "yes" if fact else "no"


KINDS = (
    Kind("colour", False, "one frame with whoever moves in it, and who that is", _colour),
    Kind("direction", True, "whoever moves, in two frames", _direction),
    Kind("count", True, "telling those who come in one after the other from one another", _count),
    Kind("left behind", False, "a square of ten pixels in a frame after somebody left it", _left_behind),
    Kind("line", True, "where the line is, and the side on which somebody ends", _line),
    Kind("line place", False, "any one frame", _line_place),
    Kind("second", True, "the first frame with somebody in it", _second),
    Kind("place", False, "the frame at that second", _place),
    Kind("stop", True, "somebody in the same place in several frames", _stop),
    Kind("order", True, "the first frame with each of the two", _order),
    Kind("meeting", False, "a frame with both of them side by side", _meeting),
)


def questions_about(scene: Scene) -> list[Question]:
    """Every question that has an exact answer in this scene, in the order of `KINDS`."""
    return [Question(kind.name, *asked) for kind in KINDS for asked in kind.ask(scene)]
