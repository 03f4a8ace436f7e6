"""Everything that decides how a training run goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stts_export.checkpoint.sizes import SIZES, Size
from stts_runtime.budget import Scope, TokenBudget


class TrainingSetting(NamedTuple):
    """A window and a budget that steps are trained with, and how often."""

    frames: int
    keep: float
    scope: Scope
    share: float


# Half of the tokens go in most steps, from the first step on. The rest makes one checkpoint answer at every keep, and
# unpruned too: pruned and unpruned are compared on the same weights, which have seen more pruned steps than unpruned.
SETTINGS = (
    TrainingSetting(16, 0.5, "clip", 0.46),
    TrainingSetting(16, 1.0, "clip", 0.16),
    TrainingSetting(16, 0.3, "clip", 0.08),
    TrainingSetting(16, 0.7, "clip", 0.06),
    TrainingSetting(16, 0.5, "frame", 0.06),
    TrainingSetting(8, 0.5, "clip", 0.06),
    TrainingSetting(8, 1.0, "clip", 0.12),
)
# The first steps see few frames: what people and vehicles look like is learned as well there, at half the cost.
OPENING_SETTINGS = (TrainingSetting(8, 0.5, "clip", 0.5), TrainingSetting(8, 1.0, "clip", 0.5))
PRUNE_FRACTION = 0.5


@dataclass(frozen=True)
class Recipe:
    """A run of `steps` steps; a seed sees the same clips in the same order.

    A machine that is too slow for `minutes` makes fewer steps on a schedule that is shortened to fit.
    """

    size: Size = field(default_factory=lambda: SIZES["tiny"])
    steps: int = 3600
    minutes: float = 10.0
    opening_steps: int = 1600
    clips_per_step: int = 64
    settings: tuple[TrainingSetting, ...] = SETTINGS
    opening_settings: tuple[TrainingSetting, ...] = OPENING_SETTINGS
    seed: int = 0
    matrix_rate: float = 7e-4
    """Learning rate of the matrices inside blocks (Muon, scaled to match AdamW's)."""
    other_rate: float = 1e-3
    """Learning rate of embeddings, norms, biases and the head (AdamW)."""
    warm_up_steps: int = 200
    weight_decay: float = 0.01
    score_weight: float = 0.5
    """Of the scores' loss, beside the answers' (arXiv 2603.18004)."""
    report_every: int = 20
    validate_every: int = 400
    validation_clips: int = 256

    def setting(self, step: int) -> TrainingSetting:
        """The setting of a step, drawn from the recipe's seed."""
        settings = self.opening_settings if step < self.opening_steps else self.settings
        shares = np.array([setting.share for setting in settings])
        rng = np.random.default_rng((self.seed, step))
        return settings[int(rng.choice(len(shares), p=shares / shares.sum()))]

    def budget(self, setting: TrainingSetting) -> TokenBudget:
        return TokenBudget(setting.frames, self.size.groups, setting.keep, setting.scope)

    def done(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, max(step / self.steps, seconds / (60 * self.minutes)))

    def rate(self, step: int, seconds: float) -> float:
        """Factor on both learning rates: a linear warm-up, a plateau, a linear way down over the last 60 %."""
        return min(1.0, (step + 1) / self.warm_up_steps, (1 - self.done(step, seconds)) / 0.6)
