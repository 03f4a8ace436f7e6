"""Properties of the vision side that the golden files do not cover."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stts_export.checkpoint import Modules, open_checkpoint
from stts_export.errors import CheckpointError
from stts_export.modules.config import VisionConfig
from stts_export.modules.layers import GroupPooling
from stts_export.modules.scorer import key_bias, without_first
from stts_export.modules.slots import Indices
from stts_export.modules.vit import group_order, patches_of_frames
from stts_runtime.budget import Scope, TokenBudget
from stts_runtime.bundle.contract import INDICES, indices_of


@pytest.fixture(scope="module")
def modules(micro_checkpoint: Path) -> Modules:
    return open_checkpoint(micro_checkpoint).load()


def random_frames(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (frames, 84, 84, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_patches_are_the_row_major_ones_in_group_order(modules: Modules) -> None:
    config = modules.vision.config.vision
    frames = random_frames(2)
    tiles = frames.float().reshape(2, 6, 14, 6, 14, 3).permute(0, 1, 3, 2, 4, 5).reshape(2, 36, -1)
    expected = (tiles / 255 - 0.5) / 0.5
    torch.testing.assert_close(patches_of_frames(frames, config), expected[:, group_order(config)])


def test_a_group_order_lists_every_group_in_one_run(modules: Modules) -> None:
    rows = group_order(modules.vision.config.vision).reshape(4, 9)
    assert rows[0].tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14]
    assert rows[3].tolist() == [21, 22, 23, 27, 28, 29, 33, 34, 35]


def test_group_pooling_equals_attention_with_projected_keys_and_values() -> None:
    torch.manual_seed(0)
    pooling = GroupPooling(10, 8, 6, heads=2)
    x = torch.randn(5, 9, 10)
    q, k, v = pooling.q_proj(x.mean(dim=1, keepdim=True)), pooling.k_proj(x), pooling.v_proj(x)
    q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in (q, k, v))
    expected = pooling.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).squeeze(1)
    torch.testing.assert_close(pooling(x), expected)


def test_key_bias_spans_each_row_and_spares_the_first_frame() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.4], [0.2, 0.6, 0.3, 0.3]])
    bias = key_bias(scores[None], groups_per_side=2, patches_per_group=9, rescale_minimum=0.1353352832366127)
    bias = without_first(bias)
    by_group = bias.reshape(2, 4, 9)
    assert (by_group[0] == 0).all()
    expected = torch.tensor([-2.0, 0.0, -2.0, -2.0])
    torch.testing.assert_close(by_group[1, :, 0], expected, atol=1e-4, rtol=0)
    assert (by_group == by_group[..., :1]).all()


def test_keep_1_computes_no_score_and_every_token(modules: Modules) -> None:
    output = modules.vision(random_frames(3), TokenBudget(3, 4, 1))
    assert output.scores_TG is None
    assert output.kept_K is None
    assert output.visual_tokens_KW.shape == (12, 48)


def test_frame_budget_equals_clip_budget_where_both_keep_the_same(modules: Modules) -> None:
    """With two frames the clip's total is the later frame's own, so both budgets must give the same tokens."""
    frames = random_frames(2)
    clip = modules.vision(frames, TokenBudget(2, 4, 0.75, "clip"))
    frame = modules.vision(frames, TokenBudget(2, 4, 0.5, "frame"))
    assert clip.kept_K.tolist() == frame.kept_K.tolist()
    torch.testing.assert_close(clip.visual_tokens_KW, frame.visual_tokens_KW, atol=1e-5, rtol=1e-5)


def test_with_the_frame_budget_a_frame_depends_on_itself_and_the_one_before(modules: Modules) -> None:
    frames = random_frames(4)
    budget = TokenBudget(4, 4, 0.5, "frame")
    before = modules.vision(frames, budget).visual_tokens_KW
    changed = frames.clone()
    changed[1] = random_frames(1, seed=9)[0]
    after = modules.vision(changed, budget).visual_tokens_KW
    same = (before - after).abs().amax(dim=1) < 1e-6
    assert same[:4].all(), "frame 0 comes before the change"
    assert not same[4:6].any(), "frame 1 is the one that changed"
    assert same[8:].all(), "frame 3 does not see frame 1"


def test_a_frozen_camera_gives_equal_scores_after_the_first_frames(modules: Modules) -> None:
    frozen = random_frames(1).expand(4, -1, -1, -1)
    scores = modules.vision(frozen, TokenBudget(4, 4, 0.5)).scores_TG
    torch.testing.assert_close(scores[1], scores[3])
    assert not torch.allclose(scores[0], scores[1]), "the first frame has no predecessor"


def test_feature_layers_before_the_cut_are_taken_from_kept_patches(modules: Modules) -> None:
    config = modules.vision.config
    early = dataclasses.replace(config, vision=dataclasses.replace(config.vision, feature_layers=(4, 1)))
    vision = type(modules.vision)(early)
    vision.load_state_dict(modules.vision.state_dict())
    with torch.no_grad():
        output = vision(random_frames(3), TokenBudget(3, 4, 0.5))
    assert output.visual_tokens_KW.shape == (6, 48)
    assert output.visual_tokens_KW.isfinite().all()


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_the_first_frame_alone_may_be_all_that_is_kept(modules: Modules, scope: Scope) -> None:
    output = modules.vision(random_frames(4), TokenBudget(4, 4, 0.25 if scope == "clip" else 1e-7, scope))
    alone = modules.vision(random_frames(4), TokenBudget(4, 4, 0.5, scope))
    assert output.kept_K.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(output.visual_tokens_KW, alone.visual_tokens_KW[:4], atol=1e-5, rtol=1e-5)


def test_a_grid_that_does_not_divide_into_groups_is_refused() -> None:
    with pytest.raises(CheckpointError, match="20x20 patches does not divide into pooling groups of 3x3"):
        VisionConfig(32, 4, 2, 64, 20, 588, (3,))


@pytest.mark.parametrize(("keep", "scope"), [(1, "clip"), (0.5, "clip"), (0.25, "clip"), (0.5, "frame")])
def test_several_clips_at_once_equal_each_alone(modules: Modules, keep: float, scope: Scope) -> None:
    """Training runs clips in batches; a graph holds one."""
    clips = torch.stack([random_frames(4, seed) for seed in range(3)])
    budget, vision = TokenBudget(4, 4, keep, scope), modules.vision
    patches = torch.stack([patches_of_frames(frames, vision.config.vision) for frames in clips])
    together = vision.visual_tokens(
        hidden := vision.hidden(patches, budget, frozenset(vision.config.vision.feature_layers)), budget
    )
    alone = [vision(frames, budget) for frames in clips]
    torch.testing.assert_close(together, torch.cat([one.visual_tokens_KW for one in alone]), atol=1e-5, rtol=1e-5)
    if keep < 1:
        assert hidden.kept_BK is not None
        assert hidden.kept_BK.tolist() == [one.kept_K.tolist() for one in alone]


def test_a_control_that_keeps_as_much_as_one_frame_still_attends_within_frames(modules: Modules) -> None:
    """K = G must not be taken for the first frame."""
    budget, vision = TokenBudget(4, 4, 0.25, "given"), modules.vision
    clips, given = torch.stack([random_frames(4, seed) for seed in range(2)]), torch.tensor([0, 5, 10, 15])
    patches = torch.stack([patches_of_frames(frames, vision.config.vision) for frames in clips])
    layers = frozenset(vision.config.vision.feature_layers)
    together = vision.visual_tokens(vision.hidden(patches, budget, layers, given.expand(2, -1)), budget)
    alone = torch.cat([vision(frames, budget, given).visual_tokens_KW for frames in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_whole_sequences_equal_a_prefix_and_its_continuation_in_the_cache(modules: Modules) -> None:
    """Training sees a prefix and its question in one call, the runtime in two."""
    language = modules.language
    mark = language.markers
    prefix = [5, mark.frame_start, mark.image_patch, mark.image_patch, mark.frame_end, 7]
    ids = torch.tensor([[*prefix, 9, 10, 11], [*prefix, 12, 13, 14]])
    positions = torch.tensor([0, 1, 2, 5, 6, 7, 8, 9, 10])
    visual = torch.randn(4, 48, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(9, 9, dtype=torch.bool).tril()
    seen[1:5, 1:5] = True
    rows = language.sequences(ids, positions.expand(2, -1), visual, seen.expand(2, -1, -1)).unflatten(0, (2, 9))
    for number in range(2):
        shown, caches = visual[2 * number : 2 * number + 2], language.empty_caches(12)
        first = language(ids[number, :6], positions[:6], torch.tensor([0]), shown, caches)
        second = language(ids[number, 6:], positions[6:], torch.tensor([6]), shown, first.caches)
        expected = torch.cat((first.logits, second.logits))
        torch.testing.assert_close(language.logits(rows[number, [5, 8]]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpoint", ["micro_checkpoint", "olmo_checkpoint"])
def test_indices_from_the_host_say_the_same_as_the_number_of_tokens(
    checkpoint: str, request: pytest.FixtureRequest
) -> None:
    """Prefix, question and a single token; positions skip, as those of pruned windows do."""
    language = open_checkpoint(request.getfixturevalue(checkpoint)).load().language
    mark = language.markers
    prefix = [5, mark.frame_start, mark.image_patch, mark.image_patch, mark.frame_end, 7, mark.image_patch]
    visual = torch.randn(4, language.config.width, generator=torch.Generator().manual_seed(0))
    tables = language.rotary_tables(40)
    wanted, got, start = language.empty_caches(16), language.empty_caches(16, by_head=True), 0
    for ids in (prefix, [9, 10, 11], [12]):
        token_ids, positions = torch.tensor(ids), torch.arange(len(ids)) + 2 * start
        counted = indices_of(token_ids.numpy(), start, mark.image_patch)
        indices = Indices(*(torch.from_numpy(counted[name]) for name in INDICES))
        expected = language(token_ids, positions, torch.tensor([start]), visual, wanted)
        output = language.indexed(token_ids, positions, indices, visual, got, tables)
        torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-5)
        wanted, got, start = expected.caches, output.caches, start + len(ids)
        for flat, by_head in zip(wanted, got, strict=True):
            torch.testing.assert_close(by_head.transpose(1, 2).flatten(2), flat, atol=1e-5, rtol=1e-5)
