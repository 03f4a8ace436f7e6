"""Confidence intervals for questions that come in clips.

Questions about one clip are not independent, so the clip is the unit: the intervals are those of a ratio of sums over
clips (cluster-robust), normal, 95 %. For a difference the two settings' answers to the same questions are paired.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_NORMAL_95 = 1.96


class Interval(BaseModel):
    """Percent, or percentage points."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: float
    low: float
    high: float


def interval(values: NDArray[np.float64], clips: NDArray[np.int64]) -> Interval:
    """The mean of `values` (questions,) in percent; `clips` says which clip each is about."""
    if not values.size:
        raise ValueError("an interval needs at least one value")
    _, unit = np.unique(clips, return_inverse=True)
    sums, sizes = np.bincount(unit, weights=values), np.bincount(unit)
    mean = sums.sum() / sizes.sum()
    residuals, units = sums - mean * sizes, len(sizes)
    error = np.sqrt(units / max(units - 1, 1) * (residuals**2).sum()) / sizes.sum()
    low, high = mean - _NORMAL_95 * error, mean + _NORMAL_95 * error
    return Interval(value=round(100 * mean, 2), low=round(100 * low, 2), high=round(100 * high, 2))
