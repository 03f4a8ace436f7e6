"""The rule of a keep that follows the scene, on clips whose right keeps are known."""

from __future__ import annotations

import numpy as np
import pytest

from stts_tools.scene_keep.rule import chosen, cross_fitted, highest_dropped, share_dropped, threshold_for
from stts_tools.scene_keep.scores import ClipScores
from stts_tools.scene_keep.simulate import Trial

GROUPS, FRAMES = 4, 5
TOKENS = np.array([6, 8, 12])


def clip(number: int, bright: int) -> ClipScores:
    """`bright` groups after the first frame are worth keeping."""
    later = np.full((FRAMES - 1) * GROUPS, 0.1)
    later[:bright] = 0.9
    scores = np.vstack([np.full(GROUPS, 0.5), later.reshape(FRAMES - 1, GROUPS)])
    return ClipScores(clip=number, moving=bright / later.size, scores=scores.tolist())


def trial() -> Trial:
    """40 clips with one question each, half of them with two bright groups and half with eight; a clip is answered if
    all of them are kept.
    """
    bright = [2 if number // 4 % 2 == 0 else 8 for number in range(40)]
    hits = np.array([[float(kept - GROUPS >= one) for kept in TOKENS] for one in bright])
    clips = [clip(number, one) for number, one in enumerate(bright)]
    return Trial(["a", "b", "c"], TOKENS, np.array([1.0, 1.2, 1.6]), 0.8, hits, np.arange(40), clips, GROUPS)


def test_what_is_lost_is_what_lies_behind_the_cut() -> None:
    scores = np.array([0.9, 0.6, 0.3, 0.2])
    assert highest_dropped(scores, 1) == 0.6
    assert share_dropped(scores, 2) == pytest.approx(0.25)
    assert (highest_dropped(scores, 4), share_dropped(scores, 4)) == (0, 0)


def test_the_smallest_keep_that_loses_little_is_chosen_and_the_last_where_none_does() -> None:
    losses = np.array([[0.9, 0.5, 0.1], [0.3, 0.2, 0.1], [0.9, 0.8, 0.7]])
    assert chosen(losses, 0.5).tolist() == [1, 0, 2]


def test_a_threshold_spends_no_more_than_it_may() -> None:
    losses = trial().losses("highest score dropped")
    for mean in (6.0, 7.0, 9.0, 12.0):
        threshold = threshold_for(losses, TOKENS, mean)
        assert TOKENS[chosen(losses, threshold)].mean() <= mean
    assert chosen(losses, threshold_for(losses, TOKENS, 12.0)).max() == 2


def test_halves_are_judged_by_one_another() -> None:
    losses = np.tile([[0.9, 0.0, 0.0]], (8, 1))
    losses[[0, 1, 4, 5]] = [0.1, 0.0, 0.0]
    keeps = cross_fitted(losses, TOKENS, 6.0)
    # To spend 6 the first half needs 0.1 and the second 0.9: each gets what the other needs.
    assert keeps.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


def test_where_scores_tell_what_is_needed_the_rule_beats_the_fixed_keep() -> None:
    rows = {(row.setting, row.against): row for row in trial().rows()}
    fixed, rule = rows["b", None], rows["highest score dropped", "b"]
    assert fixed.scenes["all"].accuracy.value == 50
    # Half of the clips at 6 and half at 12 would be 9 on average, and 8 is allowed: the largest threshold is taken.
    assert rule.scenes["all"].mean_tokens <= 8
    free = trial().row("rule", chosen(trial().losses("highest score dropped"), 0.5), 1)
    assert free.scenes["all"].accuracy.value == 100
    assert free.scenes["all"].points is not None
    assert free.scenes["all"].points.value == 50
    assert free.scenes["all"].points_of_random == pytest.approx(25)
    assert free.shares == [0.5, 0, 0.5]
    assert free.mean_giga_macs == pytest.approx(1.3)
    # Half of the clips are looked at once more, after a look with the smallest keep that nothing is asked about.
    assert free.giga_macs_with_second_look == pytest.approx(1.7)
    assert (free.scenes["quiet"].mean_tokens, free.scenes["busy"].mean_tokens) == (6, 12)
