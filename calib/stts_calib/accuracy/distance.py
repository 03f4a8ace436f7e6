"""How far from the true place answers point, over test clips with a thing to point to in the last frame.

An answer counts if it is one point in the last frame, as `pointing.points_at` has it; how far away is a share of the
frame's side, so that 0.025 is the width of one of the cells into which the clips' answers are rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from stts_calib.clips import Clip, ClipSet, Question, Split
from stts_runtime.point_records import pointed_at
from stts_runtime.session import Session


class PointedTo(NamedTuple):
    """One question and what came of it."""

    clip: str
    question: Question
    answer: str
    distance: float | None
    """None where the answer is not one point in the last frame."""


class Distances(BaseModel):
    """Distances of one variant, over all questions."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    questions: int
    pointed: int
    """Answers that are one point in the last frame."""
    inside: int
    """Those that are within the thing."""
    median: float | None
    """Median distance of the answers that point; the next likewise."""
    ninety_percent: float | None
    """This many lie no further away."""

    @classmethod
    def of(cls, answers: Sequence[PointedTo]) -> Distances:
        distances = [one.distance for one in answers if one.distance is not None]
        median, ninety = np.percentile(distances, [50, 90]).round(4).tolist() if distances else (None, None)
        return cls(
            questions=len(answers),
            pointed=len(distances),
            inside=sum(one.question.is_right(one.answer) for one in answers),
            median=median,
            ninety_percent=ninety,
        )


def clips_to_point_at(split: Split, count: int) -> Iterator[tuple[Clip, list[Question]]]:
    """The first `count` hard clips of a split with somebody to point to, each with those questions."""
    number = found = 0
    while found < count:
        clip = Clip.make(split, number, ClipSet.hard)
        questions = [question for question in clip.questions if question.target is not None]
        if questions:
            found += 1
            yield clip, questions
        number += 1


def point(session: Session, clip: Clip, questions: Sequence[Question], frames: int, size: int) -> list[PointedTo]:
    """Asks about `frames` frames of `size` x `size` pixels."""
    watched, answers = session.watch(clip.window(frames, size)), []
    for question in questions:
        answer = session.ask(watched, question.text, clip.clip_set.answer_tokens).answer
        distance = distance_of(answer, question, watched.window.times_seconds.tolist())
        answers.append(PointedTo(clip.name, question, answer, distance))
    return answers


def distance_of(answer: str, question: Question, times_seconds: Sequence[float]) -> float | None:
    """From the middle of what the question asks for; None where the answer is not one point in the last frame."""
    pointed = pointed_at(answer, times_seconds)
    if question.target is None or len(pointed.points) != 1 or pointed.points[0].frame != len(times_seconds) - 1:
        return None
    found = pointed.points[0]
    return math.dist((found.x, found.y), question.target.middle)
