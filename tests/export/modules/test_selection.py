"""Which groups are kept: ties, repeated frames, both budgets."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stts_export.modules.selection import kept_groups
from stts_runtime.budget import TokenBudget

GROUPS = 9


def reference_choice(scores: np.ndarray, budget: TokenBudget) -> list[int]:
    """Drops one after the other: always the lowest score, of equals the lowest number, never of the first frame."""
    alive = set(range(scores.size))
    flat = scores.reshape(-1)
    pools = [range(GROUPS, scores.size)]
    drops = scores.size - budget.kept
    if budget.scope == "frame":
        pools = [range(start, start + GROUPS) for start in range(GROUPS, scores.size, GROUPS)]
        drops = GROUPS - budget.kept_per_later_frame
    for pool in pools:
        for _ in range(drops):
            alive.remove(min((group for group in pool if group in alive), key=lambda group: (flat[group], group)))
    return sorted(alive)


few_levels = st.integers(0, 3).map(lambda level: np.float32(level / 4))


@given(arrays(np.float32, (5, GROUPS), elements=few_levels), st.sampled_from([0.3, 0.5, 0.7, 0.9]))
def test_ties_drop_the_lower_number_first(scores: np.ndarray, keep: float) -> None:
    for scope in ("clip", "frame"):
        budget = TokenBudget(5, GROUPS, keep, scope)
        assert kept_groups(torch.from_numpy(scores)[None], budget)[0].tolist() == reference_choice(scores, budget)


def test_a_frozen_camera_keeps_the_highest_numbers() -> None:
    frozen = torch.full((4, GROUPS), 0.5)
    kept = kept_groups(frozen[None], TokenBudget(4, GROUPS, 0.5))[0].tolist()
    assert kept == [*range(9), *range(27, 36)]


def test_the_first_frame_is_kept_whatever_its_scores() -> None:
    scores = torch.rand(3, GROUPS) + 1
    scores[0] = 0
    for scope in ("clip", "frame"):
        assert kept_groups(scores[None], TokenBudget(3, GROUPS, 0.5, scope))[0, :GROUPS].tolist() == list(range(GROUPS))


def test_a_budget_of_one_frame_keeps_the_first_only() -> None:
    kept = kept_groups(torch.rand(1, 4, GROUPS), TokenBudget(4, GROUPS, 0.25))[0]
    assert kept.tolist() == list(range(GROUPS))
