"""Frames to visual tokens: where the vision tower, the scorer, the choice, the packing and the connector meet.

One frame's way: patches -> dense blocks 0 to `prune_at` -> scores -> one dense block with the scores as an attention
bias -> only kept patches -> packed blocks -> connector -> one token per kept group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stts_export.modules.config import ModelConfig, VisionConfig
from stts_export.modules.connector import Connector
from stts_export.modules.layers import Attend
from stts_export.modules.operators import attention, key_biased_attention
from stts_export.modules.packing import packed_attention
from stts_export.modules.scorer import TokenScorer, key_bias
from stts_export.modules.selection import kept_groups
from stts_export.modules.vit import VisionTransformer, patches_of_frames
from stts_runtime.budget import TokenBudget


class Hidden(NamedTuple):
    """What the tower computed on the way; `kept_K` and `scores_TG` are None where nothing was pruned."""

    by_layer: dict[int, Tensor]
    """Outputs of the layers asked for, rows of patches: all (T * N, D) before the cut, kept ones (K * P, D) after."""
    scores_TG: Tensor | None
    kept_K: Tensor | None


class VisionTensors(NamedTuple):
    visual_tokens_KW: Tensor
    scores_TG: Tensor | None
    kept_K: Tensor | None


def whole_frames(frames: int, heads: int) -> Attend:
    """Every patch sees its whole frame."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(*(x.unflatten(0, (frames, -1)) for x in (q, k, v)), heads).flatten(0, 1)

    return attend


def biased_frames(bias_TN: Tensor, heads: int) -> Attend:
    """Every patch sees its whole frame, less of the patches that scored low."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        by_frame = [x.unflatten(0, (bias_TN.shape[0], -1)) for x in (q, k, v)]
        return key_biased_attention(*by_frame, bias_TN.to(q.dtype), heads).flatten(0, 1)

    return attend


def kept_frames(kept_K: Tensor, budget: TokenBudget, heads: int) -> Attend:
    """Kept patches see the kept patches of their frame."""
    if budget.kept == budget.groups:
        return whole_frames(1, heads)
    if budget.scope == "frame":
        return _equal_frames(budget, heads)
    frame_K = torch.div(kept_K, budget.groups, rounding_mode="floor")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attended: Tensor = packed_attention(q, k, v, frame_K, budget.frames, budget.groups, heads)
        return attended

    return attend


def _equal_frames(budget: TokenBudget, heads: int) -> Attend:
    """The first frame is whole and all later ones hold the same number of groups, so two batches do."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first_rows = q.shape[0] // budget.kept * budget.groups
        parts = [(x[:first_rows], x[first_rows:]) for x in (q, k, v)]
        first = attention(*(head.unsqueeze(0) for head, _ in parts), heads).flatten(0, 1)
        later = attention(*(tail.unflatten(0, (budget.frames - 1, -1)) for _, tail in parts), heads).flatten(0, 1)
        return torch.cat((first, later))

    return attend


class Vision(nn.Module):
    """The vision side of a checkpoint. Holds no static shape: every budget runs on the same weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = VisionTransformer(config.vision)
        self.multi_modal_projector = Connector(config.vision, config.connector)
        self.temporal_token_scorer = TokenScorer(config.vision, config.scorer) if config.scorer else None

    def forward(self, frames_THWC: Tensor, budget: TokenBudget) -> VisionTensors:
        """uint8 RGB frames (T, H, W, 3) of the model's size -> visual tokens (K, text width) in frame order."""
        features = self.config.vision.feature_layers
        hidden = self.hidden(patches_of_frames(frames_THWC, self.config.vision), budget, frozenset(features))
        patches = [self._kept_rows(hidden, layer) for layer in features]
        tokens = self.multi_modal_projector(torch.cat(patches, dim=-1))
        return VisionTensors(tokens, hidden.scores_TG, hidden.kept_K)

    def hidden(self, patches_TNP: Tensor, budget: TokenBudget, layers: frozenset[int]) -> Hidden:
        """Runs the tower on patches in group order and returns the outputs of `layers`."""
        x = self.vision_tower.embed(patches_TNP)
        if budget.keep == 1:
            everywhere = whole_frames(budget.frames, self.config.vision.heads)
            by_layer, _ = self._run(x, range(self.config.vision.layers), everywhere, layers)
            return Hidden(by_layer, None, None)
        return self._pruned(x, budget, layers)

    def _pruned(self, x: Tensor, budget: TokenBudget, layers: frozenset[int]) -> Hidden:
        vision, scorer = self.config.vision, self.config.scorer
        if scorer is None or self.temporal_token_scorer is None:
            raise ValueError("a model without a scorer runs at keep 1 only")
        cut, heads = scorer.prune_at + 1, vision.heads
        before, x = self._run(x, range(cut), whole_frames(budget.frames, heads), layers)
        scores_TG = self.temporal_token_scorer(by_group(x, budget.frames, vision))
        bias_TN = key_bias(scores_TG, vision.groups_per_side, vision.patches_per_group, scorer.rescale_minimum)
        biased, x = self._run(x, range(cut, cut + 1), biased_frames(bias_TN, heads), layers)
        kept_K = kept_groups(scores_TG, budget)
        x = take_groups(x, kept_K, vision)
        after, _ = self._run(x, range(cut + 1, vision.layers), kept_frames(kept_K, budget, heads), layers)
        return Hidden({**before, **biased, **after}, scores_TG, kept_K)

    def _run(
        self, x: Tensor, blocks: range, attend: Attend, layers: frozenset[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        outputs = {}
        for number in blocks:
            x = self.vision_tower.layers[number](x, attend)
            if number in layers:
                outputs[number] = x
        return outputs, x

    def _kept_rows(self, hidden: Hidden, layer: int) -> Tensor:
        """A feature layer that lies before the cut still holds every patch."""
        rows = hidden.by_layer[layer]
        scorer = self.config.scorer
        if hidden.kept_K is None or scorer is None or layer > scorer.prune_at + 1:
            return rows
        return take_groups(rows, hidden.kept_K, self.config.vision)


def by_group(rows: Tensor, frames: int, vision: VisionConfig) -> Tensor:
    """Rows (T * N, D) in group order -> (T, G, P, D)."""
    return rows.reshape(frames, vision.groups, vision.patches_per_group, -1)


def take_groups(rows: Tensor, kept_K: Tensor, vision: VisionConfig) -> Tensor:
    """Rows of all patches (T * N, D) -> rows of the kept groups' patches (K * P, D)."""
    return rows.reshape(-1, vision.patches_per_group, rows.shape[-1]).index_select(0, kept_K).flatten(0, 1)
