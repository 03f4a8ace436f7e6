"""Frames of streams: what the tower makes of each, given the scorer's features of its stream's frame before.

A stream of such frames gives what a window of the budget `frame` gives that begins with the same key frame: after the
cut a frame sees nothing but itself, and the scorer looks back by one frame only.

Frames of several streams go through together as rows, one frame after the other.

Shape suffixes: B frames, G groups of one, K kept ones of one, R = B x G, M = B x K, F channels of a group's features,
W of the language model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stts_export.modules.operators import keep_highest
from stts_export.modules.vision import Hidden, Vision, by_group, take_groups, whole_frames
from stts_export.modules.vit import patches_of_frames
from stts_runtime.budget import IncrementalBudget

_TINY = 1e-6


class IncrementalTensors(NamedTuple):
    visual_tokens_MW: Tensor
    scores_R: Tensor
    kept_M: Tensor
    """Ascending numbers of the kept groups, int64: frame x G + group."""
    features_RF: Tensor
    """What the next frames need of these, in the type that the scorer hands on."""
    change_R: Tensor
    """How far each group's features are from the frame before, 0 to 1, float32."""


def see_frames(
    vision: Vision, budget: IncrementalBudget, frames_BHWC: Tensor, previous_RF: Tensor
) -> IncrementalTensors:
    """uint8 RGB frames (B, H, W, 3), and the scorer's features of the frame before each: zeros for a stream's first.

    Raises `ValueError` for a model without a scorer.
    """
    scorer, config = vision.temporal_token_scorer, vision.config.vision
    if scorer is None or vision.config.scorer is None:
        raise ValueError("a model without a scorer knows no change between frames")
    cut, layers = vision.config.scorer.prune_at + 1, frozenset(config.feature_layers)
    count, shape = frames_BHWC.shape[0], (frames_BHWC.shape[0], 1, config.groups)
    everywhere = whole_frames(count, config.heads)
    x = vision.vision_tower.embed(patches_of_frames(frames_BHWC, config))
    before, x = vision.run_blocks(x, range(cut), everywhere, layers)
    features_RF = scorer.features(by_group(x, 1, config)).flatten(0, 2)
    scores_B1G = scorer.scored(previous_RF.unflatten(0, shape), features_RF.unflatten(0, shape))
    if budget.is_key:
        # As a window's first frame: whole, and without a bias.
        after, _ = vision.run_blocks(x, range(cut, config.layers), everywhere, layers)
        kept_M, hidden = torch.arange(count * config.groups, device=x.device), Hidden({**before, **after}, None, None)
    else:
        kept_M = _kept(scores_B1G, budget)
        after = _pruned(vision, x, scores_B1G, kept_M, range(cut, config.layers), layers)
        hidden = Hidden({**before, **after}, None, kept_M.unsqueeze(0))
    tokens, moved = vision.visual_tokens(hidden, budget.pair), change(previous_RF.float(), features_RF.float())
    return IncrementalTensors(tokens, scores_B1G.flatten(), kept_M, features_RF, moved)


def _kept(scores_B1G: Tensor, budget: IncrementalBudget) -> Tensor:
    """Every frame keeps as many."""
    if scores_B1G.shape[0] == 1:
        return keep_highest(scores_B1G.flatten(), budget.kept)
    first_B = torch.arange(scores_B1G.shape[0], device=scores_B1G.device) * budget.groups
    return (keep_highest(scores_B1G.squeeze(1), budget.kept) + first_B[:, None]).flatten()


def _pruned(
    vision: Vision, x: Tensor, scores_B1G: Tensor, kept_M: Tensor, blocks: range, layers: frozenset[int]
) -> dict[int, Tensor]:
    """The first of the blocks sees all patches, under the scores' bias if they have one, the others those kept."""
    config = vision.config.vision
    attend = vision.biased(scores_B1G, spare_first=False)
    biased, x = vision.run_blocks(x, blocks[:1], attend, layers)
    x = take_groups(x, kept_M, config)
    after, _ = vision.run_blocks(x, blocks[1:], whole_frames(scores_B1G.shape[0], config.heads), layers)
    return {**biased, **after}


def change(previous_RF: Tensor, features_RF: Tensor) -> Tensor:
    """Distance over the sum of lengths: 0 for equal features, 1 for opposite ones or where nothing was before."""
    distance_R: Tensor = (features_RF - previous_RF).norm(dim=-1)
    lengths_R: Tensor = features_RF.norm(dim=-1) + previous_RF.norm(dim=-1)
    return distance_R / (lengths_R + _TINY)
