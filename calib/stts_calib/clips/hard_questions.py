"""Questions about the harder scenes, with open answers: a digit, a list, a point, or that there was no such thing.

Those of the plain clips are asked too where the camera is bad, and each condition is a kind of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stts_calib.clips.hard_director import Condition, HardScene, Theme
from stts_calib.clips.pointing import NOT_THERE, Box, box_around, point_at
from stts_calib.clips.questions import Kind, Question, quarter, questions_about, yes_no
from stts_calib.clips.scene import CLEAR_OF_MIDDLE, DURATION_SECONDS, Actor, Place, Scene, Sort
from stts_calib.clips.sprites import COLOURS

_SORTS: tuple[Sort, ...] = ("person", "vehicle", "dog")
_PLURAL: dict[Sort, str] = {"person": "people", "vehicle": "vehicles", "dog": "dogs"}
_STEADY_SECONDS = 0.6
"""Who moves at a second moves so long before and after it as well."""
_EDGE = 0.03
"""What is pointed to lies so far inside the frame."""
_LONG_STOP_SECONDS = 2.0
_COUNT_OTHERS = 0.3


def _digit(scene: Scene) -> Iterator[tuple[str, str]]:
    numbered = [actor for actor in scene.actors if actor.number is not None]
    if len(numbered) == 1:
        yield "What number was on the vehicle?", str(numbered[0].number)


def _flag(scene: Scene) -> Iterator[tuple[str, str]]:
    carrying = [actor.flag for actor in scene.actors if actor.flag is not None]
    if len(carrying) == 1:
        yield "What colour was the flag?", carrying[0]


def _alike(scene: Scene) -> Iterator[tuple[str, str]]:
    pair = sorted((actor for actor in scene.actors if actor.number is not None), key=lambda one: one.appears_at)
    if len(pair) != 2:
        return
    yield "What number was on the vehicle that came first?", str(pair[0].number)
    yield "What number was on the vehicle that came last?", str(pair[1].number)
    stopped = [actor for actor in pair if _stood(actor) >= _LONG_STOP_SECONDS]
    if len(stopped) == 1:
        yield "What number was on the vehicle that stopped?", str(stopped[0].number)


def _stood(actor: Actor) -> float:
    return sum(min(end, DURATION_SECONDS) - start for start, end in actor.stops)


def _count(scene: Scene) -> Iterator[tuple[str, str]]:
    """Counts the most frequent sort, and now and then another."""
    rng, counts = _generator(scene, 3), {sort: sum(actor.sort == sort for actor in scene.actors) for sort in _SORTS}
    most = max(_SORTS, key=lambda sort: counts[sort])
    for sort in _SORTS:
        if sort == most or rng.random() < _COUNT_OTHERS:
            yield f"How many {_PLURAL[sort]} came in?", str(counts[sort])


def _movers(scene: Scene) -> Iterator[tuple[str, str]]:
    """How many move at a second, where that is clear of anyone coming, leaving, stopping or going on."""
    asked = 0
    for second in _generator(scene, 1).permutation(np.arange(2, int(DURATION_SECONDS))).tolist():
        moving = [_moves_at(actor, second) for actor in scene.actors]
        if None not in moving and asked < 2:
            asked += 1
            yield f"How many were moving at second {second}?", str(sum(bool(one) for one in moving))


def _moves_at(actor: Actor, second: float) -> bool | None:
    """None where it is not clear."""
    around = [actor.place_at(second + step) for step in (-_STEADY_SECONDS, 0.0, _STEADY_SECONDS)]
    inside = {place is not None and _is_inside(place) for place in around}
    if inside == {False}:
        return False if all(place is None or not _touches(place, actor) for place in around) else None
    still = {around[0] == around[1], around[1] == around[2]}
    return None if len(inside) > 1 or len(still) > 1 else still == {False}


def _is_inside(place: Place) -> bool:
    return all(0 <= at <= 1 for at in place)


def _touches(place: Place, actor: Actor) -> bool:
    """Whether any of it is in the frame."""
    return abs(place[0] - 0.5) < 0.5 + actor.width / 2 and abs(place[1] - 0.5) < 0.5 + actor.height / 2


def _order_of_three(scene: Scene) -> Iterator[tuple[str, str]]:
    colours = [actor.colour for actor in sorted(scene.actors, key=lambda one: one.appears_at)]
    if len(colours) == 3 and len(set(colours)) == 3:
        yield "In which order did they come in, by colour?", ", ".join(colours)


def _absence(scene: Scene) -> Iterator[tuple[str, str]]:
    """Asks about what is there and what is not, equally often: things, and colours that something else has."""
    rng = _generator(scene, 2)
    yield "Was there a dog?", yes_no(any(actor.sort == "dog" for actor in scene.actors))
    dogs = [actor.colour for actor in scene.actors if actor.sort == "dog"]
    if len(dogs) <= 1:
        yield "What colour was the dog?", dogs[0] if dogs else "There was no dog."
    seen = {(actor.colour, actor.sort) for actor in scene.actors}
    if not seen:
        return
    colour, sort = sorted(seen)[int(rng.integers(len(seen)))]
    if rng.random() < 0.5:
        other = _SORTS[int(rng.integers(3))]
        colour, sort = (colour, other) if rng.random() < 0.7 else (list(COLOURS)[int(rng.integers(8))], sort)
    parked = scene.parked is not None and (scene.parked.colour, "vehicle") == (colour, sort)
    yield f"Was there {'an' if colour == 'orange' else 'a'} {colour} {sort}?", yes_no((colour, sort) in seen or parked)


def _flash(scene: Scene) -> Iterator[tuple[str, str]]:
    yield "What colour was the flash?", scene.flash.colour if scene.flash else "no flash"
    where = quarter(scene.flash.place, margin=CLEAR_OF_MIDDLE) if scene.flash else "no flash"
    if where is not None:
        yield "Where was the flash?", where


def _camera(scene: Scene) -> Iterator[tuple[str, str]]:
    camera = scene.camera
    turned = "turned right" if camera.pan > 0 else "turned left"
    yield "What did the camera do?", "stood still" if camera.is_still else "shook" if camera.shake else turned


def _point(scene: Scene) -> Iterator[tuple[str, str]]:
    single = [sort for sort in _SORTS if sum(actor.sort == sort for actor in scene.actors) <= 1]
    where = {sort: _last_place(scene, sort) for sort in single}
    absent = [sort for sort in single if where[sort] is None]
    chosen = absent[int(_generator(scene, 4).integers(len(absent)))] if absent else None
    for sort, place in where.items():
        if place is None and sort == chosen:
            yield f"Point to the {sort} at the end.", NOT_THERE
        elif place is not None and all(_EDGE <= at <= 1 - _EDGE for at in place):
            yield f"Point to the {sort} at the end.", point_at(place, sort)


def _last_place(scene: Scene, sort: Sort) -> Place | None:
    """Where in the last frame the one actor of this sort is; None if nothing of it is there."""
    actor = scene.only(sort)
    place = None if actor is None else actor.place_at(DURATION_SECONDS)
    if actor is None or place is None or not _touches(place, actor):
        return None
    shift = scene.camera.shift_at(DURATION_SECONDS)
    return place[0] + shift[0], place[1] + shift[1]


def _asked_by_condition(_scene: Scene) -> Iterator[tuple[str, str]]:
    """These come from the plain kinds, where a clip has the condition."""
    return iter(())


_CONDITION_KINDS = {
    Condition.shake: "while shaking",
    Condition.night: "at night",
    Condition.rain: "in rain",
    Condition.pan: "in a pan",
}
_UNCLEAR = {
    Condition.shake: {"second"},
    Condition.pan: {"direction", "left behind", "line", "line place", "stop"},
}
"""Plain kinds whose answers such a camera would make arguable."""

HARD_KINDS = (
    Kind("digit", False, "one frame with a digit of 10 to 15 pixels in it, unpruned there", _digit),
    Kind("flag", False, "one frame with a flag of 8 pixels in it, unpruned there", _flag),
    Kind("alike", True, "who of two alike came first or stopped, and a digit", _alike),
    Kind("count to nine", True, "telling up to nine from one another, several in the frame at once", _count),
    Kind("movers", True, "two frames around that second, and everybody in them", _movers),
    Kind("order of three", True, "the first frames with each of three, and their colours", _order_of_three),
    Kind("absence", False, "having seen everything, and not saying more than that", _absence),
    Kind("flash", False, "the one frame of 64 that shows it", _flash),
    Kind("camera", True, "the ground in two frames", _camera),
    Kind("point", False, "the last frame, and where in it", _point),
    Kind("while shaking", True, "a plain question, where everything moves by some pixels", _asked_by_condition),
    Kind("at night", True, "a plain question, in a third of the light and three times the noise", _asked_by_condition),
    Kind("in rain", True, "a plain question, behind drops that change with every frame", _asked_by_condition),
    Kind("in a pan", True, "a plain question, while the whole ground moves", _asked_by_condition),
)

_OF_THEME = {
    Theme.usual: ("camera",),
    Theme.crowd: ("count to nine", "movers", "absence", "point"),
    Theme.order: ("order of three", "movers", "absence", "camera", "point"),
    Theme.alike: ("alike", "absence", "point"),
    Theme.detail: ("digit", "flag", "absence", "camera", "point"),
    Theme.flash: ("flash", "absence", "movers", "point"),
}


def hard_questions_about(drawn: HardScene) -> list[Question]:
    """Every question that has an exact answer in this scene, in the order of `HARD_KINDS`."""
    scene, kinds = drawn.scene, [kind for kind in HARD_KINDS if kind.name in _OF_THEME[drawn.theme]]
    asked = [
        Question(kind.name, text, answer, _target(scene, kind, text))
        for kind in kinds
        for text, answer in kind.ask(scene)
    ]
    if drawn.theme is not Theme.usual:
        return asked
    unclear, name = _UNCLEAR.get(drawn.condition, set()), _CONDITION_KINDS[drawn.condition]
    plain = [question for question in questions_about(scene) if question.kind not in unclear]
    return asked + [Question(name, question.text, question.answer) for question in plain]


def _target(scene: Scene, kind: Kind, text: str) -> Box | None:
    """Where a point that answers this has to lie."""
    if kind.name != "point":
        return None
    sort = next(sort for sort in _SORTS if f" {sort} " in text)
    actor, where = scene.only(sort), _last_place(scene, sort)
    return None if actor is None or where is None else box_around(where, actor.width, actor.height)


def _generator(scene: Scene, purpose: int) -> np.random.Generator:
    return np.random.default_rng((scene.backdrop_seed, 2, purpose))
