"""Steps of a run as clips with questions: which videos a step sees depends on its number and the seed alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stts_export.scorer_training.clips import Footage, Pictures, Problem
from stts_export.scorer_training.questions import Questions
from stts_runtime.errors import UserError

_QUESTIONS = 4
"""About a clip."""


@dataclass(frozen=True)
class Clips:
    """Clips with the same number of frames."""

    frames_BTHWC: Tensor
    """uint8. One tensor, since workers hand over each in a file that stays open."""
    times_seconds: list[list[float]]
    questions: list[list[str]]

    @property
    def count(self) -> int:
        return len(self.times_seconds)

    def in_parts(self, most: int) -> Iterator[Clips]:
        """Parts of at most `most` clips."""
        for start in range(0, self.count, most):
            part = slice(start, start + most)
            yield Clips(self.frames_BTHWC[part], self.times_seconds[part], self.questions[part])


class Step(NamedTuple):
    keep: float
    clips: list[Clips]
    """Clips of this process."""
    problems: list[Problem]


@dataclass(frozen=True)
class Schedule:
    """What is drawn for each step."""

    frames: tuple[int, ...]
    keeps: tuple[float, ...]
    clips: int
    seed: int

    def setting(self, step: int) -> tuple[int, float]:
        """Most frames of a window, and the keep ratio."""
        rng = np.random.default_rng((self.seed, step))
        return int(rng.choice(self.frames)), float(rng.choice(self.keeps))

    def drawn(self, step: int, of: int) -> list[int]:
        """Numbers of the step's clips: all of them are seen once before one is seen again."""
        places = range(step * self.clips, (step + 1) * self.clips)
        turns = {place // of for place in places}
        orders = {turn: np.random.default_rng((self.seed, turn, of)).permutation(of) for turn in turns}
        return [int(orders[place // of][place % of]) for place in places]


class Steps(Dataset[Step]):
    """The part of each step that falls to process `rank` of `ranks`."""

    def __init__(
        self,
        schedule: Schedule,
        footage: Sequence[Footage],
        questions: Questions,
        max_fps: float,
        size: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._schedule, self._footage, self._questions = schedule, footage, questions
        self._max_fps, self._size, self._rank, self._ranks = max_fps, size, rank, ranks

    @property
    def material(self) -> dict[str, str]:
        """Which videos and questions these are, by a hash: steps are what they are only with the same ones."""
        videos = [(one.name, one.frames, one.path.stat().st_size) for one in self._footage]
        named = {"videos": videos, "questions": [self._questions.of_all, sorted(self._questions.of_one.items())]}
        return {name: sha256(json.dumps(what).encode()).hexdigest() for name, what in named.items()}

    def __getitem__(self, step: int) -> Step:
        most, keep = self._schedule.setting(step)
        problems = list[Problem]()
        alike: dict[int, list[tuple[Pictures, list[str]]]] = defaultdict(list)
        for place, number in enumerate(self._schedule.drawn(step, len(self._footage))):
            if place % self._ranks != self._rank:
                continue
            footage, rng = self._footage[number], np.random.default_rng((self._schedule.seed, step, place))
            try:
                pictures = footage.window(most, self._max_fps, self._size)
            except UserError as error:
                problems.append(Problem(footage.name, str(error)))
                continue
            asked = self._questions.draw(footage.name, _QUESTIONS, rng)
            alike[len(pictures.times_seconds)].append((pictures, asked))
        return Step(keep, [_together(found) for found in alike.values()], problems)


def _together(found: list[tuple[Pictures, list[str]]]) -> Clips:
    frames_BTHWC = torch.from_numpy(np.stack([pictures.frames for pictures, _ in found]))
    return Clips(frames_BTHWC, [pictures.times_seconds for pictures, _ in found], [asked for _, asked in found])
