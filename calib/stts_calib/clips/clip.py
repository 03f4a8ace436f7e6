"""One synthetic surveillance clip: its pictures, and questions with exact answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stts_calib.clips.director import Director
from stts_calib.clips.hard_director import Condition, HardDirector
from stts_calib.clips.hard_questions import hard_questions_about
from stts_calib.clips.motion import moving_groups, moving_objects, worth_of_groups
from stts_calib.clips.questions import Question, questions_about
from stts_calib.clips.render import render
from stts_calib.clips.scene import DURATION_SECONDS, Scene

if TYPE_CHECKING:
    from stts_runtime.video import Window


_HARD_SEED = 2


class Split(Enum):
    """Clips of different splits never share a seed: the split is a part of it."""

    train = 0
    validation = 1
    test = 2


class ClipSet(str, Enum):
    plain = "plain"
    """A camera that stands still, few actors, answers out of a short list."""
    hard = "hard"
    """Details, crowds, lists, what is not there, and bad cameras; answers are open."""

    @property
    def answer_tokens(self) -> int:
        """At most. A point takes 16."""
        return 8 if self is ClipSet.plain else 24


@dataclass(frozen=True)
class Clip:
    """Clip `number` of a split; the same on every machine, with the same versions of numpy and OpenCV."""

    split: Split
    number: int
    scene: Scene
    questions: tuple[Question, ...]
    clip_set: ClipSet = ClipSet.plain
    condition: Condition = Condition.clear
    """What is in the way of seeing: how the camera moves, night, rain."""

    @classmethod
    def make(cls, split: Split, number: int, clip_set: ClipSet = ClipSet.plain) -> Clip:
        if clip_set is ClipSet.plain:
            scene = Director(np.random.default_rng((split.value, number))).scene()
            return cls(split, number, scene, tuple(questions_about(scene)))
        drawn = HardDirector(np.random.default_rng((split.value, number, _HARD_SEED))).hard_scene()
        return cls(split, number, drawn.scene, tuple(hard_questions_about(drawn)), clip_set, drawn.condition)

    @classmethod
    def in_turn(cls, split: Split, number: int, clip_sets: Sequence[ClipSet]) -> Clip:
        """Clip `number` of all `clip_sets` together, which take turns."""
        turn, chosen = divmod(number, len(clip_sets))
        return cls.make(split, turn, clip_sets[chosen])

    @property
    def name(self) -> str:
        name = f"{self.split.name}-{self.number}"
        return name if self.clip_set is ClipSet.plain else f"{self.clip_set.value}-{name}"

    def window(self, frames: int, size: int) -> Window:
        """`frames` frames from the first moment to the last, as the runtime samples a file."""
        # Where nothing is run, as in training, no video library is needed either.
        from stts_runtime.video import Window  # noqa: PLC0415

        times = np.linspace(0, DURATION_SECONDS, frames)
        return Window(self.name, DURATION_SECONDS, times, self.pictures(times.tolist(), size), 1.0)

    def pictures(
        self, times_seconds: Sequence[float], size: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """RGB (T, size, size, 3), in `out` if given."""
        return render(self.scene, times_seconds, size, out)

    def moving(self, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.bool_]:
        """(T, groups): where something moves."""
        return moving_groups(self.scene, times_seconds, groups_per_side)

    def moving_objects(self, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.bool_]:
        """(sightings, T, groups): where each moving object is, one frame at a time."""
        return moving_objects(self.scene, times_seconds, groups_per_side)

    def worth(self, times_seconds: Sequence[float], groups_per_side: int) -> NDArray[np.float32]:
        """(T, groups), 0 to 1: how much there is to see in each group that the ground does not tell."""
        return worth_of_groups(self.scene, times_seconds, groups_per_side)

    def some_questions(self, number: int) -> list[Question]:
        """`number` different questions, seeded, of as many kinds as there are; at most all that the clip has."""
        rng = np.random.default_rng((self.split.value, self.number, 1))
        shuffled = [self.questions[index] for index in rng.permutation(len(self.questions))]
        seen: dict[str, int] = {}
        turns = []
        for question in shuffled:
            seen[question.kind] = seen.get(question.kind, 0) + 1
            turns.append(seen[question.kind])
        return [shuffled[index] for index in np.argsort(turns, kind="stable")[:number]]
