"""Points and tracks in an answer, as Molmo2 writes them. It knows neither windows nor pictures.

    <points coords="TIME N X Y N X Y;TIME N X Y">LABEL</points>
    <tracks coords="TIME N X Y;TIME N X Y">LABEL</tracks>

TIME is a frame's in seconds (of a picture, its number), X and Y are thousandths of the frame's sides. N is a running
number in points and the number of a thing in tracks. A tab, or a semicolon, parts frames. Source: Molmo2's
`UnifiedPointFormatter`, html-v1 and html-v2, with the sentences that it writes around a count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from stts_runtime.text import shortened

_NOTHING = ("There are none.", "No tracks available.")
_OPENING = re.compile(r"<(?:points?|tracks?)\b")
_TAG = re.compile(r'<(points|tracks)(?:\s+alt="[^"<>]*")?\s+coords="([^"<>]*)"\s*>([^<>]*)</\1>')
_BETWEEN_FRAMES = re.compile(r"[\t;:,]")
_FRAME = re.compile(r"\s*([0-9]{1,7}(?:\.[0-9]{1,3})?)((?: [0-9]{1,6} [0-9]{3,4} [0-9]{3,4})+)\s*")
_COUNT_BEFORE = re.compile(r"There are ([0-9]{1,6}) $")
_COUNT_AFTER = re.compile(r" shows a total of ([0-9]{1,6})\b")
_SIDE = 1000
_QUOTED = 80


class Point(NamedTuple):
    label: str
    x: float
    """Share of the frame's width, 0 to 1 from the left."""
    y: float
    """Share of its height, from the top."""
    time: float
    """As the answer gives it: seconds on the time line of the prompt; of a picture, its number from 1."""
    number: int
    is_track: bool


@dataclass(frozen=True)
class Pointing:
    """What an answer points to."""

    points: tuple[Point, ...]
    count: int | None
    """How many things, as its words say or else as there are; None where nothing is pointed to or counted."""
    problems: tuple[str, ...]
    """What could not be read, each in a sentence. It stays in the text."""


def read_pointing(text: str) -> Pointing:
    """Everything in `text` that follows the grammar."""
    points: list[Point] = []
    problems: list[str] = []
    count = 0 if text.strip() in _NOTHING else None
    for opening in _OPENING.finditer(text):
        tag = _TAG.match(text, opening.start())
        found = None if tag is None else _points_of(tag, problems)
        if tag is None or found is None:
            problems.append(f"not read as points: {shortened(text[opening.start() :], _QUOTED)}")
            continue
        points += found
        count = (count or 0) + _count(text, tag, found, problems)
    return Pointing(tuple(points), count, tuple(problems))


def words_of(text: str) -> str:
    """`text` with the labels of its tags in place of the coordinates, for people."""
    return _TAG.sub(r"\3", text)


def _points_of(tag: re.Match[str], problems: list[str]) -> list[Point] | None:
    """None if its coordinates do not follow the grammar."""
    frames = [_FRAME.fullmatch(frame) for frame in _BETWEEN_FRAMES.split(tag[2])]
    points: list[Point] = []
    seen: set[tuple[float, int]] = set()
    for frame in frames:
        if frame is None:
            return None
        time, numbers = float(frame[1]), [int(number) for number in frame[2].split()]
        for number, x, y in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            if max(x, y) > _SIDE:
                problems.append(f"outside of the frame, so left out: {x} {y} at {frame[1]}")
            elif (time, number) in seen:
                problems.append(f"number {number} is in the frame at {frame[1]} twice; the first counts")
            else:
                seen.add((time, number))
                points.append(Point(tag[3].strip(), x / _SIDE, y / _SIDE, time, number, tag[1] == "tracks"))
    return points


def _count(text: str, tag: re.Match[str], found: list[Point], problems: list[str]) -> int:
    there = len({point.number for point in found}) if tag[1] == "tracks" else len(found)
    stated = _COUNT_BEFORE.search(text, 0, tag.start()) or _COUNT_AFTER.match(text, tag.end())
    if stated is None:
        return there
    if int(stated[1]) != there:
        problems.append(f"the answer counts {stated[1]} and points to {there}")
    return int(stated[1])
