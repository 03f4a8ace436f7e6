"""Scores without a scorer: what they are, and what rounding must not do to them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.modules.change import ROUNDING, ChangeScorer
from stts_export.modules.config import ChangeConfig, VisionConfig
from stts_export.modules.selection import kept_groups
from stts_runtime.budget import TokenBudget

VISION = VisionConfig(32, 5, 2, 48, 6, 588, (4, 2))
SCORER = ChangeScorer(VISION, ChangeConfig(1))
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
NO_CHANGE = TokenBudget(3, 4, 0.5)


def hidden(frames: int, seed: int = 0) -> Tensor:
    """(1, T, G, P, D)."""
    return torch.randn(1, frames, 4, 9, 32, generator=torch.Generator().manual_seed(seed))


def test_a_score_is_one_less_the_cosine_with_the_frame_before() -> None:
    rows = hidden(5)
    # Not only unrelated frames: one hardly changes, and lengths differ.
    rows[:, 3] = 7 * (rows[:, 2] + 0.05 * rows[:, 3])
    flat = rows.flatten(3)
    wanted = 1 - F.cosine_similarity(flat[:, 1:], flat[:, :-1], dim=-1)
    assert wanted[:, 2].max() < 0.01
    torch.testing.assert_close(SCORER(rows)[:, 1:], wanted - ROUNDING, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frozen_camera_scores_exactly_nothing_and_the_lower_groups_go_first(dtype: torch.dtype) -> None:
    scores = SCORER(hidden(1).expand(-1, 3, -1, -1, -1).to(dtype))
    assert (scores[:, 1:] == 0).all()
    assert kept_groups(scores, NO_CHANGE).tolist() == [[0, 1, 2, 3, 10, 11]]


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_what_engines_round_apart_does_not_decide(dtype: torch.dtype) -> None:
    """A key frame and those between it come from different engines: the same picture differs by rounding."""
    rows = hidden(1)
    previous = SCORER.features(rows)
    assert (SCORER.features(rows.to(dtype)) != previous).any()
    assert (SCORER.scored(previous, SCORER.features(rows.to(dtype))) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_values_neither_overflow_nor_matter(dtype: torch.dtype) -> None:
    """A tower's massive activations: their squares do not fit fp16."""
    rows = hidden(4)
    rows[..., 5] *= 8000
    scores = SCORER(rows.to(dtype))
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, SCORER(rows), atol=1e-2, rtol=1e-2)
    assert SCORER.features(rows.to(dtype)).dtype == torch.float16


def test_a_first_frame_scores_as_if_nothing_had_been_before() -> None:
    rows = hidden(2)
    features = SCORER.features(rows[:, :1])
    torch.testing.assert_close(SCORER(rows)[:, :1], SCORER.scored(torch.zeros_like(features), features))
    torch.testing.assert_close(SCORER(rows)[:, :1], torch.full((1, 1, 4), 0.5), atol=1e-3, rtol=0)
