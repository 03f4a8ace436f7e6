"""A file of `stts-export evaluate --answers`, by setting: what was right, about which clip, seen by which camera."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_calib.clips import Clip, ClipSet, Question, Split
from stts_calib.clips.hard_director import Condition
from stts_runtime.errors import UserError

CAMERAS = {
    "all": frozenset(Condition),
    "still": frozenset({Condition.clear}),
    "shaking": frozenset({Condition.shake}),
    "panning": frozenset({Condition.pan}),
    "noisy": frozenset({Condition.night, Condition.rain}),
}
"""Night is noise on a camera that stands still, and so is rain."""


@dataclass(frozen=True)
class Asked:
    """What all settings were asked, in one order: Q questions."""

    questions: tuple[tuple[int, str], ...]
    """Number of the clip, and the text."""
    cameras: tuple[Condition, ...]

    @property
    def clip_numbers(self) -> NDArray[np.int64]:
        """(Q,)"""
        return np.array([clip for clip, _ in self.questions])

    def seen_by(self, camera: str) -> NDArray[np.bool_]:
        """(Q,): whose clip was seen by such a camera."""
        return np.array([one in CAMERAS[camera] for one in self.cameras])


@dataclass(frozen=True)
class Answered:
    """One file."""

    name: str
    asked: Asked
    hits: dict[str, NDArray[np.float64]]
    """By setting, (Q,): 1 where the answer is right."""


def read_answers(path: Path, clip_sets: Sequence[ClipSet]) -> Answered:
    """Raises `UserError` for a file of other clips, or one whose settings were not asked the same."""
    by_setting: dict[str, list[tuple[int, str, bool, Condition]]] = {}
    for line in path.read_text().splitlines():
        one = json.loads(line)
        clip = _clip(one["clip"], tuple(clip_sets))
        question = _question(clip, one["question"])
        if question is None:
            raise UserError(f"clip {one['clip']} of {path} is not of these sets: nobody asks {one['question']!r} of it")
        answer = one["clip"], one["question"], question.is_right(one["answer"]), clip.condition
        by_setting.setdefault(one["setting"], []).append(answer)
    asked = {tuple((clip, text) for clip, text, *_ in answers) for answers in by_setting.values()}
    if len(asked) != 1:
        raise UserError(f"{path} holds no answers of settings that were all asked the same")
    cameras = tuple(camera for *_, camera in next(iter(by_setting.values())))
    hits = {name: np.array([right for *_, right, _ in rows], dtype=np.float64) for name, rows in by_setting.items()}
    return Answered(path.stem, Asked(asked.pop(), cameras), hits)


@cache
def _clip(number: int, clip_sets: tuple[ClipSet, ...]) -> Clip:
    return Clip.in_turn(Split.test, number, clip_sets)


def _question(clip: Clip, text: str) -> Question | None:
    return next((one for one in clip.questions if one.text == text), None)
