"""What other keeps would have kept, told from scores alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.explaining.keeps import keeps_part, kept_by, least_keeps

FRAMES, GROUPS = 5, 9


def some_scores(seed: int, *, ties: bool) -> NDArray[np.float32]:
    scores = np.random.default_rng(seed).random((FRAMES, GROUPS)).astype(np.float32)
    return scores.round(1) if ties else scores


@pytest.mark.parametrize("seed", range(20))
def test_the_least_keeps_are_enough_and_a_thousandth_less_is_not(seed: int) -> None:
    scores = some_scores(seed, ties=seed % 2 == 1)
    wanted = np.random.default_rng((seed, 1)).random(scores.shape) < 0.2
    wanted[3, 4] = True

    def keeps_some(keep: float) -> bool:
        return keeps_part(kept_by(scores, TokenBudget(FRAMES, GROUPS, keep)), wanted)

    def keeps_all(keep: float) -> bool:
        return bool(kept_by(scores, TokenBudget(FRAMES, GROUPS, keep))[wanted].all())

    for keep, is_enough in zip(least_keeps(scores, wanted), (keeps_some, keeps_all), strict=True):
        assert is_enough(keep)
        less = round(keep - 0.001, 3)
        assert less < 1 / FRAMES or not is_enough(less)


def test_a_part_is_kept_if_no_frame_of_it_is_without() -> None:
    wanted = np.array([[False, False], [True, True], [True, False]])
    assert keeps_part(np.array([[False, False], [False, True], [True, True]]), wanted)
    assert not keeps_part(np.array([[True, True], [False, True], [False, True]]), wanted)


def test_the_first_frame_costs_nothing() -> None:
    wanted = np.zeros((FRAMES, GROUPS), dtype=np.bool_)
    wanted[0] = True
    assert least_keeps(some_scores(0, ties=False), wanted) == (1 / FRAMES, 1 / FRAMES)


def test_of_equal_scores_the_lower_number_is_dropped_first() -> None:
    kept = kept_by(np.zeros((2, 4), np.float32), TokenBudget(2, 4, 0.75))
    assert kept.tolist() == [[True] * 4, [False, False, True, True]]


def test_the_budget_frame_keeps_as_many_of_every_later_frame() -> None:
    scores = some_scores(3, ties=False)
    kept = kept_by(scores, TokenBudget(FRAMES, GROUPS, 0.4, "frame"))
    each = TokenBudget(FRAMES, GROUPS, 0.4, "frame").kept_per_later_frame
    assert kept.sum(axis=1).tolist() == [GROUPS] + [each] * (FRAMES - 1)
    for row, score in zip(kept[1:], scores[1:], strict=True):
        assert score[row].min() > score[~row].max()
