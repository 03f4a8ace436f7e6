"""Which windows to calibrate on: those that differ most in what the scorer makes of them, and not the first ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NINTH = 9
"""As the novelty of a stream: the ninth of the groups that changed most."""


def traits(scores_TG: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2,): how much the scores change from frame to frame where they change most, and how far they are spread."""
    change = np.abs(np.diff(scores_TG.astype(np.float64), axis=0))
    most = np.sort(change, axis=1)[:, -max(1, change.shape[1] // _NINTH) :]
    return np.array([most.mean() if most.size else 0.0, scores_TG.std()])


def choose_windows(traits_N2: NDArray[np.float64], count: int) -> list[int]:
    """Numbers of at most `count` windows, ascending: each time the one whose traits lie farthest from all chosen.

    Traits are measured in their own spread. The first is the one that changes most; ties go to the earlier window.
    """
    spread = traits_N2.std(axis=0)
    scaled = (traits_N2 - traits_N2.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    chosen = [int(np.argmax(traits_N2[:, 0]))]
    nearest = np.linalg.norm(scaled - scaled[chosen[0]], axis=1)
    while len(chosen) < min(count, len(traits_N2)):
        # What was chosen is never the farthest again, though windows may be alike.
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return sorted(chosen)
