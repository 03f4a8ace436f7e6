"""What an evaluation asks: which settings, which clips, how many questions about each."""

from __future__ import annotations

from dataclasses import dataclass

from stts_calib.accuracy.settings import Setting
from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.bundle.contract import EngineName


@dataclass(frozen=True)
class Exam:
    """The same questions for every setting. Clips have numbers from 0 on, and the sets take turns."""

    settings: tuple[Setting, ...]
    questions: int
    """About each clip, at most."""
    split: Split
    engine: EngineName
    clip_sets: tuple[ClipSet, ...]

    def clip(self, number: int) -> Clip:
        return Clip.in_turn(self.split, number, self.clip_sets)
