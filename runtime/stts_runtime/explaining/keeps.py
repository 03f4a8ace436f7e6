"""What other keep ratios would have kept, told from one look's scores, which do not depend on the keep."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget

_STEPS = 1000
"""Keep ratios are given to three digits."""


def kept_by(scores: NDArray[np.float32], budget: TokenBudget) -> NDArray[np.bool_]:
    """(T, G): what a variant with this budget keeps, given its scores (T, G). As the graphs: the first frame whole, of
    equal scores the lower group number goes first.
    """
    kept = np.ones(scores.shape, dtype=np.bool_)
    if budget.keep == 1:
        return kept
    if budget.scope == "frame":
        order = np.argsort(scores[1:], axis=1, kind="stable")
        dropped = order[:, : budget.groups - budget.kept_per_later_frame]
        np.put_along_axis(kept[1:], dropped, values=False, axis=1)
        return kept
    order = np.argsort(scores[1:].reshape(-1), kind="stable")
    kept[1:].reshape(-1)[order[: budget.visual_tokens - budget.kept]] = False
    return kept


def keeps_part(kept: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> bool:
    """Whether at least one group of `wanted` is among `kept` in each of its frames; both are (T, G)."""
    found = np.count_nonzero(kept & wanted, axis=1)
    return bool(found[np.count_nonzero(wanted, axis=1) > 0].all())


def least_keeps(scores: NDArray[np.float32], wanted: NDArray[np.bool_]) -> tuple[float, float]:
    """The smallest keeps over the clip, to three digits, that keep at least one group of `wanted` (T, G) in each of its
    frames, and all of `wanted`.
    """
    frames, groups = scores.shape
    ranks = np.zeros(scores.shape, dtype=np.int64)
    order = np.argsort(scores[1:].reshape(-1), kind="stable")
    ranks[1:].reshape(-1)[order] = np.arange(len(order), 0, -1)
    shown = wanted.any(axis=1)
    best = np.where(wanted, ranks, ranks.max() + 1).min(axis=1)[shown].max()
    worst = ranks[wanted].max()
    return _least_keep(frames, groups, groups + int(best)), _least_keep(frames, groups, groups + int(worst))


def _least_keep(frames: int, groups: int, kept: int) -> float:
    """The smallest keep whose budget keeps that many groups. Budgets round what is dropped down, so it may be any above
    that of one group less.
    """
    least = max((kept - 1) / (frames * groups), 1 / frames)
    for step in range(math.floor(_STEPS * least), _STEPS):
        keep = step / _STEPS
        if keep >= 1 / frames and TokenBudget(frames, groups, keep).kept >= kept:
            return keep
    return 1.0
