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


def hidden(frames: int, seed: int = 0) -> Tensor:
    """(1, T, G, P, D)."""
    return torch.randn(1, frames, 4, 9, 32, generator=torch.Generator().manual_seed(seed))


def unlike(rows: Tensor) -> Tensor:
    """Of every group, (B, T, G): half its squared distance to the mean of its frame, where its own length is 1."""
    unit = F.normalize(rows.flatten(3), dim=-1)
    return (unit - unit.mean(dim=2, keepdim=True)).square().sum(dim=-1) / 2


def test_a_score_is_the_change_since_the_frame_before_and_half_of_what_is_unlike_its_frame() -> None:
    rows = hidden(5)
    # Not only unrelated frames: one hardly changes, and lengths differ.
    rows[:, 3] = 7 * (rows[:, 2] + 0.05 * rows[:, 3])
    flat = rows.flatten(3)
    change = 1 - F.cosine_similarity(flat[:, 1:], flat[:, :-1], dim=-1)
    assert change[:, 2].max() < 0.01
    wanted = change - ROUNDING + 0.5 * unlike(rows)[:, 1:]
    torch.testing.assert_close(SCORER(rows)[:, 1:], wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frozen_camera_keeps_of_every_frame_what_is_unlike_the_rest_and_the_latest_of_equals(
    dtype: torch.dtype,
) -> None:
    """Between frames that are alike there is nothing but rounding, which must not decide."""
    rows = hidden(1)
    rows[:, :, 1:] = 0.3 * rows[:, :, 1:] + rows[:, :, 1:2]
    scores = SCORER(rows.expand(-1, 4, -1, -1, -1).to(dtype))
    assert (scores[:, 2] == scores[:, 1]).all()
    assert (scores[:, 3] == scores[:, 1]).all()
    assert scores[0, 1].argmax() == 0
    kept = kept_groups(scores, TokenBudget(4, 4, 9 / 16))
    by_frame = torch.zeros(16, dtype=torch.bool).index_fill(0, kept[0], value=True).unflatten(0, (4, 4))
    assert by_frame[:, 0].all()
    assert by_frame.sum(dim=1).tolist() == [4, 1, 2, 2], "of equal scores those of the first frames are dropped"


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_what_engines_round_apart_is_no_change(dtype: torch.dtype) -> None:
    """A key frame and those between it come from different engines: the same picture differs by rounding."""
    rows = hidden(1)
    previous, features = SCORER.features(rows), SCORER.features(rows.to(dtype))
    assert (features != previous).any()
    torch.testing.assert_close(SCORER.scored(previous, features), SCORER.scored(features, features), atol=0, rtol=0)


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
    torch.testing.assert_close(SCORER(rows)[:, :1], 0.5 + 0.5 * unlike(rows)[:, :1], atol=1e-3, rtol=0)
