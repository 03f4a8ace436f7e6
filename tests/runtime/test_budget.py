"""Token budgets: the reference's rounding, and what is impossible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_runtime.budget import TokenBudget
from stts_runtime.errors import UserError

# Prune fractions and frames at which double precision drops one group fewer than the reference's float32.
FLOAT32_CASES = [(0.7, 30), (0.7, 110), (0.35, 60)]


def test_clip_budget_rounds_in_float32_as_the_reference() -> None:
    by_double = [int(81 * p * frames) for p, frames in FLOAT32_CASES]
    by_reference = [int(np.float32(81 * p) * np.float32(frames)) for p, frames in FLOAT32_CASES]
    assert by_double != by_reference, "these cases must tell the two apart"
    kept = [TokenBudget(frames, 81, round(1 - p, 6)).kept for p, frames in FLOAT32_CASES]
    assert kept == [81 * frames - dropped for (_, frames), dropped in zip(FLOAT32_CASES, by_reference, strict=True)]


@given(st.integers(1, 256), st.sampled_from([4, 36, 81]), st.floats(0.01, 1))
def test_the_first_frame_always_fits(frames: int, groups: int, keep: float) -> None:
    try:
        budget = TokenBudget(frames, groups, keep)
    except UserError:
        assert keep < 1 / frames + 1e-6
        return
    assert groups <= budget.kept <= frames * groups


@given(st.integers(2, 64), st.floats(0.01, 0.999))
def test_frame_budget_keeps_the_same_of_every_later_frame(frames: int, keep: float) -> None:
    budget = TokenBudget(frames, 81, keep, "frame")
    dropped = int(np.float32(81 * round(1 - keep, 6)))
    assert budget.kept == 81 + (frames - 1) * (81 - dropped)


@pytest.mark.parametrize("keep", [0, -0.5, 1.5, float("nan")])
def test_a_keep_outside_its_range_is_refused(keep: float) -> None:
    with pytest.raises(UserError, match="keep ratio must be above 0"):
        TokenBudget(8, 81, keep)


def test_a_keep_below_one_frame_is_refused_with_the_lowest_possible() -> None:
    with pytest.raises(UserError, match=r"lowest keep is 1/8 = 0\.125"):
        TokenBudget(8, 81, 0.12)
    assert TokenBudget(8, 81, 0.125).kept == 81
    assert TokenBudget(3, 81, 0.333333).kept == 81


def test_a_single_frame_cannot_be_pruned() -> None:
    assert TokenBudget(1, 81, 1).kept == 81
    for scope in ("clip", "frame"):
        with pytest.raises(UserError):
            TokenBudget(1, 81, 0.5, scope)


@pytest.mark.parametrize("name", ["full-t16", "clip-t64-k0.125", "frame-t16-k0.5", "given-t3-k0.7"])
def test_a_name_is_read_as_it_is_written(name: str) -> None:
    assert TokenBudget.named(name, 36).name == name


@pytest.mark.parametrize(
    "name", ["", "clip", "clip-t8", "full-t8-k0.5", "clip-t8-k1", "clip-t08-k0.5", "clip-t8-k.5", "live-k0.5"]
)
def test_what_names_no_budget_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="names no variant"):
        TokenBudget.named(name, 36)
