"""What decides how a training run goes: settings of frames and budget, schedule and rates.

The numbers are the caller's; those of `checkpoints/tiny` are in `tools/stts_tools/tiny/recipe.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run of `steps` steps; a seed sees the same clips in the same order.

    A machine that is too slow for `minutes` makes fewer steps on a schedule that is shortened to fit.
    """

    settings: tuple[TrainingSetting, ...]
    opening_settings: tuple[TrainingSetting, ...]
    """Of the first `opening_steps` steps."""
    validated_settings: tuple[TrainingSetting, ...]
    steps: int
    minutes: float
    opening_steps: int
    clips_per_step: int
    matrix_rate: float
    """Learning rate of the matrices inside blocks (Muon, scaled to match AdamW's)."""
    other_rate: float
    """Learning rate of embeddings, norms, biases and the head (AdamW)."""
    warm_up_steps: int
    weight_decay: float
    score_weight: float
    """Weight of the scores' loss next to the answers' (arXiv 2603.18004)."""
    report_every: int
    validate_every: int
    validation_clips: int
    seed: int = 0

    def setting(self, step: int) -> TrainingSetting:
        """The setting of a step, drawn from the recipe's seed."""
        settings = self.opening_settings if step < self.opening_steps else self.settings
        shares = np.array([setting.share for setting in settings])
        rng = np.random.default_rng((self.seed, step))
        return settings[int(rng.choice(len(shares), p=shares / shares.sum()))]

    def done(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, max(step / self.steps, seconds / (60 * self.minutes)))

    def rate(self, step: int, seconds: float) -> float:
        """Factor on both learning rates: a linear warm-up, a plateau, a linear way down over the last 60 %."""
        return min(1.0, (step + 1) / self.warm_up_steps, (1 - self.done(step, seconds)) / 0.6)
