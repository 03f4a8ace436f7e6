"""Accuracy and cost of the rule against fixed keeps, on answers that every keep has given already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_tools.scene_keep.rule import MEASURES, cross_fitted, lost
from stts_tools.scene_keep.scores import ClipScores

SCENES = ("all", "quiet", "busy")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scene(Part):
    """One setting on the clips of one kind."""

    clips: int
    questions: int
    mean_tokens: float
    accuracy: Interval
    points: Interval | None = None
    """Less what the fixed keep of as many tokens has right, paired by question."""
    points_of_random: float | None = None
    """The same for the rule's keeps, dealt to clips at random: what the scores are worth."""


class Row(Part):
    """A fixed keep, or the rule with the mean tokens of one."""

    setting: str
    against: str | None = None
    mean_giga_macs: float
    """Vision, and the language model on the visual tokens, if the keep was known before the look."""
    giga_macs_with_second_look: float
    """If the smallest keep has to look first, to have scores, and what is larger looks again. Nothing is asked about
    the first look, so it takes vision alone.
    """
    shares: list[float]
    """Share of the clips, by keep."""
    scenes: dict[str, Scene]


@dataclass(frozen=True)
class Trial:
    """C clips with Q questions and K keeps, the smallest first."""

    names: Sequence[str]
    tokens: NDArray[np.int64]
    """(K,)"""
    giga_macs: NDArray[np.float64]
    """(K,)"""
    look_giga_macs: float
    """Multiplications of the smallest keep's vision."""
    hits: NDArray[np.float64]
    """(Q, K)"""
    clip_of: NDArray[np.int64]
    """(Q,): the place of each question's clip among `scores`."""
    scores: Sequence[ClipScores]
    groups: int

    @property
    def scenes(self) -> Mapping[str, NDArray[np.bool_]]:
        """(C,): busy are the half of the clips in which more moves."""
        moving = np.array([one.moving for one in self.scores])
        busy = moving > np.median(moving)
        return {"all": np.ones_like(busy), "quiet": ~busy, "busy": busy}

    def losses(self, measure: str) -> NDArray[np.float64]:
        """(C, K)"""
        return lost(MEASURES[measure], [one.later for one in self.scores], self.tokens.tolist(), self.groups)

    def row(self, setting: str, keeps: NDArray[np.int64], against: int | None = None) -> Row:
        """`keeps` (C,) says what each clip gets; `against` is a fixed keep."""
        again = keeps > 0
        cost = self.giga_macs[keeps]
        fixed = len(np.unique(keeps)) == 1
        return Row(
            setting=setting,
            against=None if against is None else self.names[against],
            mean_giga_macs=round(float(cost.mean()), 3),
            giga_macs_with_second_look=round(float((cost + again * self.look_giga_macs * (not fixed)).mean()), 3),
            shares=(np.bincount(keeps, minlength=len(self.names)) / len(keeps)).round(4).tolist(),
            scenes={name: self._scene(keeps, clips, against) for name, clips in self.scenes.items()},
        )

    def _scene(self, keeps: NDArray[np.int64], clips: NDArray[np.bool_], against: int | None) -> Scene:
        asked = clips[self.clip_of]
        of = self.clip_of[asked]
        hits = self._right(keeps)[asked]
        points = random = None
        if against is not None:
            points = difference_interval(hits - self.hits[asked, against], of)
            shares = np.bincount(keeps, minlength=len(self.names)) / len(keeps)
            expected = (self.hits[asked] @ shares).mean() - self.hits[asked, against].mean()
            random = round(100 * float(expected), 2)
        return Scene(
            clips=int(clips.sum()),
            questions=int(asked.sum()),
            mean_tokens=round(float(self.tokens[keeps[clips]].mean()), 1),
            accuracy=accuracy_interval(hits, of),
            points=points,
            points_of_random=random,
        )

    def _right(self, keeps: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.hits[np.arange(len(self.hits)), keeps[self.clip_of]]

    def rows(self) -> Iterator[Row]:
        """The fixed keeps, then the rule by each measure with the tokens of each fixed keep between the ends."""
        clips = len(self.scores)
        for place, name in enumerate(self.names):
            yield self.row(name, np.full(clips, place))
        for measure in MEASURES:
            losses = self.losses(measure)
            for place in range(1, len(self.names) - 1):
                keeps = cross_fitted(losses, self.tokens, float(self.tokens[place]))
                yield self.row(measure, keeps, place)
