"""The rule: the smallest keep whose dropped scores are low enough, else the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Measure = Callable[[NDArray[np.float64], int], float]
"""Of the later frames' scores, the highest first, and how many of them are kept: what is lost, low is good."""


def highest_dropped(scores: NDArray[np.float64], kept: int) -> float:
    """The best group that goes."""
    return float(scores[kept]) if kept < len(scores) else 0.0


def share_dropped(scores: NDArray[np.float64], kept: int) -> float:
    """Dropped share of the sum of all scores."""
    return float(scores[kept:].sum() / scores.sum())


MEASURES: dict[str, Measure] = {"highest score dropped": highest_dropped, "share of scores dropped": share_dropped}


def lost(
    measure: Measure, scores: Sequence[NDArray[np.float64]], tokens: Sequence[int], groups: int
) -> NDArray[np.float64]:
    """(C, K): of each clip at each keep, whose variants have `tokens`; the first frame's `groups` are kept anyway."""
    return np.array([[measure(one, kept - groups) for kept in tokens] for one in scores])


def chosen(losses: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """(C,): which keep each clip gets, the smallest that loses at most `threshold`; the last where none does."""
    fits = losses <= threshold
    fits[:, -1] = True
    smallest: NDArray[np.int64] = np.argmax(fits, axis=1)
    return smallest


def threshold_for(losses: NDArray[np.float64], tokens: NDArray[np.int64], mean_tokens: float) -> float:
    """The lowest threshold with which these clips take at most `mean_tokens` on average."""
    for threshold in np.unique(losses):
        if tokens[chosen(losses, float(threshold))].mean() <= mean_tokens:
            return float(threshold)
    return float(losses.max())


def cross_fitted(losses: NDArray[np.float64], tokens: NDArray[np.int64], mean_tokens: float) -> NDArray[np.int64]:
    """(C,): as `chosen`, with each half of the clips by the threshold that the other half would need."""
    # Sets take turns, so every second pair of clips has both.
    first = np.arange(len(losses)) // 2 % 2 == 0
    keeps = np.zeros(len(losses), dtype=np.int64)
    for half in (first, ~first):
        keeps[half] = chosen(losses[half], threshold_for(losses[~half], tokens, mean_tokens))
    return keeps
