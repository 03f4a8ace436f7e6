"""Frames to visual tokens: where the vision tower, the scorer, the choice, the packing and the connector meet.

One frame's way: patches -> dense blocks 0 to `prune_at` -> scores -> one dense block with the scores as an attention
bias -> only kept patches -> packed blocks -> connector -> one token per kept group.

Shape suffixes: B clips, T frames, G groups a frame, P patches a group, K kept groups a clip; rows of patches lie one
clip after the other. A graph holds one clip, training several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stts_export.modules.change import ChangeScorer
from stts_export.modules.config import ModelConfig, ScorerConfig, VisionConfig
from stts_export.modules.connector import Connector
from stts_export.modules.layers import SelfAttend
from stts_export.modules.operators import attention, biased_self_attention, key_biased_attention
from stts_export.modules.packing import packed_self_attention
from stts_export.modules.projection import Projection
from stts_export.modules.refill import with_refill
from stts_export.modules.scorer import Scorer, TokenScorer, key_bias, without_first
from stts_export.modules.selection import kept_groups
from stts_export.modules.vit import VisionTransformer, patches_of_frames
from stts_runtime.budget import TokenBudget


class Hidden(NamedTuple):
    """What the tower computed on the way; `kept_BK` and `scores_BTG` are None where nothing was pruned."""

    by_layer: dict[int, Tensor]
    """Outputs of the layers asked for, rows of patches: (B * T * N, D) before the cut, (B * K * P, D) after."""
    scores_BTG: Tensor | None
    kept_BK: Tensor | None


class VisionTensors(NamedTuple):
    """One clip's visual tokens, and how they were chosen."""

    visual_tokens_KW: Tensor
    scores_TG: Tensor | None
    kept_K: Tensor | None


BehindTheCut = Callable[[Tensor, Tensor, TokenBudget, frozenset[int]], dict[int, Tensor]]
"""Rows of all patches, kept groups, budget and layers -> the outputs of those layers after the cut, kept rows only."""


def whole_frames(frames: int, heads: int) -> SelfAttend:
    """Every patch sees its whole frame."""

    def attend(projection: Projection) -> Tensor:
        return attention(*(x.unflatten(0, (frames, -1)) for x in projection.project()), heads).flatten(0, 1)

    return attend


def biased_frames(bias_FN: Tensor, heads: int) -> SelfAttend:
    """Every patch sees its whole frame, less of the patches with a low bias; F counts the frames of all clips."""

    def attend(projection: Projection) -> Tensor:
        return biased_self_attention(*projection, bias_FN.to(projection.rows.dtype), heads)

    return attend


def kept_frames(kept_BK: Tensor, budget: TokenBudget, heads: int) -> SelfAttend:
    """Kept patches see the kept patches of their frame."""
    if kept_BK.shape[0] > 1:
        return masked_frames(kept_BK, budget, heads)
    if budget.kept == budget.groups and budget.scope != "given":
        return whole_frames(1, heads)
    if budget.scope == "frame":
        return _equal_frames(budget, heads)
    frame_K = torch.div(kept_BK.squeeze(0), budget.groups, rounding_mode="floor")

    def attend(projection: Projection) -> Tensor:
        return packed_self_attention(*projection, frame_K, budget.frames, budget.groups, heads)

    return attend


def _equal_frames(budget: TokenBudget, heads: int) -> SelfAttend:
    """The first frame is whole and all later ones hold the same number of groups, so two batches do."""

    def attend(projection: Projection) -> Tensor:
        first_rows = projection.rows.shape[0] // budget.kept * budget.groups
        parts = [(x[:first_rows], x[first_rows:]) for x in projection.project()]
        first = attention(*(head.unsqueeze(0) for head, _ in parts), heads).flatten(0, 1)
        later = attention(*(tail.unflatten(0, (budget.frames - 1, -1)) for _, tail in parts), heads).flatten(0, 1)
        return torch.cat((first, later))

    return attend


def masked_frames(kept_BK: Tensor, budget: TokenBudget, heads: int) -> SelfAttend:
    """Several clips at once, as in training: every frame is laid out whole again, its dropped keys masked."""
    kept = across_clips(kept_BK, budget)
    groups = kept_BK.shape[0] * budget.visual_tokens
    seen = torch.zeros(groups, dtype=torch.bool, device=kept.device).index_fill(0, kept, value=True)
    seen_FG = seen.unflatten(0, (-1, budget.groups))
    # A frame with nothing kept would leave a softmax without a key; what it computes is not used.
    seen_FG = seen_FG | ~seen_FG.any(dim=1, keepdim=True)
    bias_FG = torch.zeros(seen_FG.shape, device=kept.device).masked_fill(~seen_FG, float("-inf"))

    def attend(projection: Projection) -> Tensor:
        q, k, v = projection.project()
        patches = q.shape[0] // kept.shape[0]

        def laid_out(x: Tensor) -> Tensor:
            by_group = x.reshape(kept.shape[0], -1)
            whole = by_group.new_zeros(groups, by_group.shape[1]).index_copy(0, kept, by_group)
            return whole.reshape(seen_FG.shape[0], budget.groups * patches, -1)

        bias_FN = bias_FG.repeat_interleave(patches, dim=1).to(q.dtype)
        attended: Tensor = key_biased_attention(laid_out(q), laid_out(k), laid_out(v), bias_FN, heads)
        return attended.reshape(groups, -1).index_select(0, kept).reshape(q.shape)

    return attend


class Vision(nn.Module):
    """The vision side of a checkpoint. Holds no static shape: every budget runs on the same weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = VisionTransformer(config.vision)
        self.multi_modal_projector = Connector(config.vision, config.connector)
        self.temporal_token_scorer = _scorer(config)

    def forward(
        self, frames_THWC: Tensor, budget: TokenBudget, given_K: Tensor | None = None, refill: bool = False
    ) -> VisionTensors:
        """uint8 RGB frames (T, H, W, 3) of the model's size -> visual tokens (K, text width) in frame order.

        `given_K`, ascending clip-wide numbers, is kept in place of the scorer's choice; a budget of scope `given` needs
        it. `refill` runs the layers after the cut as the reference does (`modules.refill`), which no graph can.
        """
        patches_BTNP = patches_of_frames(frames_THWC, self.config.vision).unsqueeze(0)
        given_BK = None if given_K is None else given_K.unsqueeze(0)
        hidden = self.hidden(patches_BTNP, budget, frozenset(self.config.vision.feature_layers), given_BK, refill)
        scores_TG, kept_K = (None if x is None else x.squeeze(0) for x in (hidden.scores_BTG, hidden.kept_BK))
        return VisionTensors(self.visual_tokens(hidden, budget), scores_TG, kept_K)

    def hidden(
        self,
        patches_BTNP: Tensor,
        budget: TokenBudget,
        layers: frozenset[int],
        given_BK: Tensor | None = None,
        refill: bool = False,
        noise: float = 0.0,
    ) -> Hidden:
        """Runs the tower on patches in group order and returns the outputs of `layers`.

        `noise` is the standard deviation of what is added to scores for the choice alone, as training does.
        """
        frames = patches_BTNP.shape[0] * budget.frames
        x = self.vision_tower.embed(patches_BTNP.flatten(0, 1))
        if budget.keep == 1:
            everywhere = whole_frames(frames, self.config.vision.heads)
            by_layer, _ = self.run_blocks(x, range(self.config.vision.layers), everywhere, layers)
            return Hidden(by_layer, None, None)
        return self._pruned(x, frames, budget, layers, given_BK, refill, noise)

    def visual_tokens(self, hidden: Hidden, budget: TokenBudget) -> Tensor:
        """The connector's tokens (B * K, text width); `hidden` must hold the feature layers."""
        dtype = self.multi_modal_projector.dtype
        patches = [self._kept_rows(hidden, layer, budget).to(dtype) for layer in self.config.vision.feature_layers]
        tokens: Tensor = self.multi_modal_projector(torch.cat(patches, dim=-1))
        return tokens

    def _pruned(
        self,
        x: Tensor,
        frames: int,
        budget: TokenBudget,
        layers: frozenset[int],
        given_BK: Tensor | None,
        refill: bool,
        noise: float,
    ) -> Hidden:
        if self.config.scorer is None:
            raise ValueError("a model without a scorer runs at keep 1 only")
        scored = range(self.config.scorer.prune_at + 1)
        before, x = self.run_blocks(x, scored, whole_frames(frames, self.config.vision.heads), layers)
        scores_BTG = self.scores(x, budget)
        ranked_BTG = scores_BTG + noise * torch.randn_like(scores_BTG) if noise else scores_BTG
        kept_BK = kept_groups(ranked_BTG, budget) if given_BK is None else given_BK
        hidden = self.pruned_from(x, scores_BTG, kept_BK, budget, layers, self._refilled if refill else self._kept_only)
        return hidden._replace(by_layer={**before, **hidden.by_layer})

    def scores(self, x: Tensor, budget: TokenBudget) -> Tensor:
        """Scores of every group (B, T, G), from the output of layer `prune_at`, rows of patches."""
        assert self.temporal_token_scorer is not None
        scores: Tensor = self.temporal_token_scorer(by_group(x, budget.frames, self.config.vision))
        return scores

    def pruned_from(
        self,
        x: Tensor,
        scores_BTG: Tensor,
        kept_BK: Tensor,
        budget: TokenBudget,
        layers: frozenset[int],
        behind: BehindTheCut,
    ) -> Hidden:
        """All layers after the one that is scored, whose output `x` is: the biased one sees every patch, and `after`
        runs the others.
        """
        assert self.config.scorer is not None
        cut = self.config.scorer.prune_at + 1
        biased, x = self.run_blocks(x, range(cut, cut + 1), self.biased(scores_BTG, spare_first=True), layers)
        return Hidden({**biased, **behind(x, kept_BK, budget, layers)}, scores_BTG, kept_BK)

    def biased(self, scores_BTG: Tensor, *, spare_first: bool) -> SelfAttend:
        """The attention of the layer that a trained scorer's scores bias; a clip's first frame, which is kept whole, is
        spared.
        """
        vision, scorer = self.config.vision, self.config.scorer
        if not isinstance(scorer, ScorerConfig):
            # No layer was trained with a bias.
            return whole_frames(scores_BTG.shape[:2].numel(), vision.heads)
        bias_BTN = key_bias(scores_BTG, vision.groups_per_side, vision.patches_per_group, scorer.rescale_minimum)
        return biased_frames((without_first(bias_BTN) if spare_first else bias_BTN).flatten(0, 1), vision.heads)

    def _kept_only(self, x: Tensor, kept_BK: Tensor, budget: TokenBudget, layers: frozenset[int]) -> dict[int, Tensor]:
        """The layers after the cut, from rows of all patches: outputs for the kept ones."""
        attend = kept_frames(kept_BK, budget, self.config.vision.heads)
        return self._behind(x, kept_BK, budget, layers, attend)

    def kept_unpacked(
        self, x: Tensor, kept_BK: Tensor, budget: TokenBudget, layers: frozenset[int]
    ) -> dict[int, Tensor]:
        """The same without packing, for gradients: packed queries keep copies of their keys."""
        attend = masked_frames(kept_BK, budget, self.config.vision.heads)
        return self._behind(x, kept_BK, budget, layers, attend)

    def _behind(
        self, x: Tensor, kept_BK: Tensor, budget: TokenBudget, layers: frozenset[int], attend: SelfAttend
    ) -> dict[int, Tensor]:
        x = take_groups(x, across_clips(kept_BK, budget), self.config.vision)
        outputs, _ = self.run_blocks(x, self._behind_the_cut(), attend, layers)
        return outputs

    def _refilled(self, x: Tensor, kept_BK: Tensor, budget: TokenBudget, layers: frozenset[int]) -> dict[int, Tensor]:
        """The same as the reference does it, for one clip."""
        (kept_K,) = kept_BK
        staying_K = with_refill(kept_K, budget.frames, budget.groups)
        attend = masked_frames(staying_K.unsqueeze(0), budget, self.config.vision.heads)
        x = take_groups(x, staying_K, self.config.vision)
        outputs, _ = self.run_blocks(x, self._behind_the_cut(), attend, layers)
        place_K = torch.searchsorted(staying_K, kept_K)
        return {layer: take_groups(rows, place_K, self.config.vision) for layer, rows in outputs.items()}

    def _behind_the_cut(self) -> range:
        assert self.config.scorer is not None
        return range(self.config.scorer.prune_at + 2, self.config.vision.layers)

    def run_blocks(
        self, x: Tensor, blocks: range, attend: SelfAttend, layers: frozenset[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Rows of patches through the blocks of these numbers: outputs of those among `layers`, and of the last."""
        outputs = {}
        for number in blocks:
            x = self.vision_tower.layers[number](x, attend)
            if number in layers:
                outputs[number] = x
        return outputs, x

    def _kept_rows(self, hidden: Hidden, layer: int, budget: TokenBudget) -> Tensor:
        """A feature layer that is before the cut still holds every patch."""
        rows = hidden.by_layer[layer]
        scorer = self.config.scorer
        if hidden.kept_BK is None or scorer is None or layer > scorer.prune_at + 1:
            return rows
        return take_groups(rows, across_clips(hidden.kept_BK, budget), self.config.vision)


def _scorer(config: ModelConfig) -> Scorer | None:
    if config.scorer is None:
        return None
    if isinstance(config.scorer, ScorerConfig):
        return TokenScorer(config.vision, config.scorer)
    return ChangeScorer(config.vision, config.scorer)


def by_group(rows: Tensor, frames: int, vision: VisionConfig) -> Tensor:
    """Rows (B * T * N, D) in group order -> (B, T, G, P, D)."""
    return rows.reshape(-1, frames, vision.groups, vision.patches_per_group, rows.shape[-1])


def across_clips(kept_BK: Tensor, budget: TokenBudget) -> Tensor:
    """Numbers of groups within each clip -> numbers (B * K,) within all clips, one after the other."""
    if kept_BK.shape[0] == 1:
        return kept_BK.squeeze(0)
    clips_B = torch.arange(kept_BK.shape[0], device=kept_BK.device)
    return (kept_BK + clips_B[:, None] * budget.visual_tokens).flatten()


def take_groups(rows: Tensor, kept: Tensor, vision: VisionConfig) -> Tensor:
    """Rows of all patches -> rows of the kept groups' patches."""
    return rows.reshape(-1, vision.patches_per_group, rows.shape[-1]).index_select(0, kept).flatten(0, 1)
