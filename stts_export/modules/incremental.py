"""One frame of a stream: what the tower makes of it, given the scorer's features of the frame before.

A stream of such frames gives what a window of the budget `frame` gives that begins with the same key frame: behind the
cut a frame sees nothing but itself, and the scorer looks back by one frame only.

Shape suffixes: G groups, K kept groups, F channels of a group's features, W of the language model.
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
    visual_tokens_KW: Tensor
    scores_G: Tensor
    kept_K: Tensor
    """Ascending numbers of the kept groups, int64."""
    features_GF: Tensor
    """What the next frame needs of this one, in the type that the scorer hands on."""
    change_G: Tensor
    """How far each group's features are from the frame before, 0 to 1, float32."""


def see_frame(vision: Vision, budget: IncrementalBudget, frame_1HWC: Tensor, previous_GF: Tensor) -> IncrementalTensors:
    """A uint8 RGB frame (1, H, W, 3), and the scorer's features of the frame before: zeros for a stream's first.

    Raises `ValueError` for a model without a scorer.
    """
    scorer, config = vision.temporal_token_scorer, vision.config.vision
    if scorer is None or vision.config.scorer is None:
        raise ValueError("a model without a scorer knows no change between frames")
    cut, layers = vision.config.scorer.prune_at + 1, frozenset(config.feature_layers)
    everywhere = whole_frames(1, config.heads)
    x = vision.vision_tower.embed(patches_of_frames(frame_1HWC, config))
    before, x = vision.run_blocks(x, range(cut), everywhere, layers)
    features_GF = scorer.features(by_group(x, 1, config)).flatten(0, 2)
    scores_G = scorer.scored(previous_GF[None, None], features_GF[None, None]).flatten()
    if budget.is_key:
        # As a window's first frame: whole, and without a bias.
        after, _ = vision.run_blocks(x, range(cut, config.layers), everywhere, layers)
        kept_K, hidden = torch.arange(config.groups, device=x.device), Hidden({**before, **after}, None, None)
    else:
        kept_K = keep_highest(scores_G, budget.kept)
        after = _pruned(vision, x, scores_G, kept_K, range(cut, config.layers), layers)
        hidden = Hidden({**before, **after}, None, kept_K.unsqueeze(0))
    tokens = vision.visual_tokens(hidden, budget.pair)
    return IncrementalTensors(tokens, scores_G, kept_K, features_GF, change(previous_GF.float(), features_GF.float()))


def _pruned(
    vision: Vision, x: Tensor, scores_G: Tensor, kept_K: Tensor, blocks: range, layers: frozenset[int]
) -> dict[int, Tensor]:
    """The first of the blocks sees all patches, under the scores' bias if they have one, the others those kept."""
    config = vision.config.vision
    attend = vision.biased(scores_G[None, None], spare_first=False)
    biased, x = vision.run_blocks(x, blocks[:1], attend, layers)
    x = take_groups(x, kept_K, config)
    after, _ = vision.run_blocks(x, blocks[1:], whole_frames(1, config.heads), layers)
    return {**biased, **after}


def change(previous_GF: Tensor, features_GF: Tensor) -> Tensor:
    """Distance over the sum of lengths: 0 for equal features, 1 for opposite ones or where nothing was before."""
    distance_G: Tensor = (features_GF - previous_GF).norm(dim=-1)
    lengths_G: Tensor = features_GF.norm(dim=-1) + previous_GF.norm(dim=-1)
    return distance_G / (lengths_G + _TINY)
