"""What decides how a training run goes: settings of frames and budget, schedule and rates.

The numbers are the caller's; those of `checkpoints/tiny` are in `tools/stts_tools/tiny/recipe.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stts_calib.clips import Clip, ClipSet, Split
from stts_export.modules.config import VisionConfig
from stts_runtime.budget import Scope, TokenBudget


class TrainingSetting(NamedTuple):
    """A window and a budget that steps are trained with, and how often."""

    frames: int
    keep: float
    scope: Scope
    share: float = 1.0

    def budget(self, vision: VisionConfig) -> TokenBudget:
        return TokenBudget(self.frames, vision.groups, self.keep, self.scope)

    @property
    def name(self) -> str:
        return f"{self.frames} frames, keep {self.keep:g}" + (" a frame" if self.scope == "frame" else "")


class Phase(NamedTuple):
    """What is trained until so much of the run is over, 0 to 1."""

    until: float
    settings: tuple[TrainingSetting, ...]


class ScoreLoss(NamedTuple):
    """How scores are taught, next to what the answers teach them."""

    weight: float
    """Weight of this loss relative to the answers'."""
    change: float
    """What a group of ground is worth that changed wholly since the frame before; what moves or stays is worth more."""
    held: float
    """Weight of a group that holds something, next to one of ground."""
    evenness: float
    """Weight of the variance between places of the ground's mean score, in logits."""
    noise: float
    """Standard deviation of what is added to scores before the choice, so that equals are kept in turn."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run of `steps` steps, or of `minutes` if these are over sooner; a seed has the same clips in the same order."""

    phases: tuple[Phase, ...]
    validated_settings: tuple[TrainingSetting, ...]
    steps: int
    minutes: float
    frames_per_step: int
    """Frames of all clips together: more frames mean fewer clips."""
    hard_share: float
    """Share of the clips."""
    matrix_rate: float
    """Learning rate of the matrices inside blocks (Muon, scaled to match AdamW's)."""
    other_rate: float
    """Learning rate of embeddings, norms, biases and the head (AdamW)."""
    warm_up_steps: int
    weight_decay: float
    scores: ScoreLoss
    report_every: int
    validate_every: int
    validation_clips: int
    """Clips of each set."""
    seed: int = 0
    pruned: bool = True
    """False makes the twin: the same settings and clips, with every token kept."""

    def setting(self, step: int, done: float) -> TrainingSetting:
        """The setting of a step, drawn from the recipe's seed, where so much of the run is over."""
        settings = next((phase.settings for phase in self.phases if done < phase.until), self.phases[-1].settings)
        shares = np.array([setting.share for setting in settings])
        drawn = settings[int(np.random.default_rng((self.seed, step)).choice(len(shares), p=shares / shares.sum()))]
        return drawn if self.pruned else drawn._replace(keep=1.0, scope="clip")

    def clips(self, step: int, setting: TrainingSetting) -> list[Clip]:
        """The training clips of a step, which no other step sees."""
        count, most = self.clips_of(setting), self.frames_per_step
        first = (self.seed * self.steps + step) * most
        hard = round(count * self.hard_share)
        sets = [ClipSet.hard] * hard + [ClipSet.plain] * (count - hard)
        return [Clip.make(Split.train, first + number, clip_set) for number, clip_set in enumerate(sets)]

    def clips_of(self, setting: TrainingSetting) -> int:
        """How many clips a step has."""
        return max(1, self.frames_per_step // setting.frames)

    def done(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, max(step / self.steps, seconds / (60 * self.minutes)))

    def rate(self, step: int, seconds: float) -> float:
        """Factor on both learning rates: a linear warm-up, then half a cosine to zero."""
        return min(1.0, (step + 1) / self.warm_up_steps) * (1 + math.cos(math.pi * self.done(step, seconds))) / 2
