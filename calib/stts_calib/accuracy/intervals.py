"""Confidence intervals, 95 %, for questions that come in clips.

Questions about one clip are not independent, so the clip is the unit: errors are those of a ratio of sums over clips
(cluster-robust). A difference pairs two settings' answers to the same questions and takes a normal interval. An
accuracy takes Wilson's, which stays within 0 to 100 and is no point where everything is right, with as many
independent questions as the clips are worth.
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


def difference_interval(gaps: NDArray[np.float64], clips: NDArray[np.int64]) -> Interval:
    """Interval of the mean of `gaps` (questions,), right minus right; `clips` gives each question's clip."""
    mean, error, _ = _mean_and_error(gaps, clips)
    return _percent(mean, mean - _NORMAL_95 * error, mean + _NORMAL_95 * error)


def accuracy_interval(hits: NDArray[np.float64], clips: NDArray[np.int64]) -> Interval:
    """Interval of the mean of `hits` (questions,), each 1 or 0."""
    mean, error, units = _mean_and_error(hits, clips)
    spread = mean * (1 - mean)
    worth = spread / error**2 if error > 0 and spread > 0 else float(units)
    square = _NORMAL_95**2 / worth
    centre = (mean + square / 2) / (1 + square)
    half = np.sqrt(spread * square + square**2 / 4) / (1 + square)
    return _percent(mean, centre - half, centre + half)


def _mean_and_error(values: NDArray[np.float64], clips: NDArray[np.int64]) -> tuple[float, float, int]:
    """The mean, its standard error and the number of clips."""
    _, unit = np.unique(clips, return_inverse=True)
    sums, sizes = np.bincount(unit, weights=values), np.bincount(unit)
    units = len(sizes)
    if units < 2:
        raise ValueError("an interval needs at least two clips")
    mean = sums.sum() / sizes.sum()
    residuals = sums - mean * sizes
    error = np.sqrt(units / (units - 1) * (residuals**2).sum()) / sizes.sum()
    return float(mean), float(error), units


def _percent(value: float, low: float, high: float) -> Interval:
    return Interval(value=round(100 * value, 2), low=round(100 * low, 2), high=round(100 * high, 2))
