"""What training minimises: the answers' cross-entropy, and how far scores are from the change they should see.

Source of both terms: "Unified Spatio-Temporal Token Scoring for Efficient Video VLMs", arXiv 2603.18004. The answers'
loss reaches the scorer through the attention bias of the layer after it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.language import Language
from stts_export.modules.vision import Hidden, Vision, by_group
from stts_export.modules.vit import patches_of_frames
from stts_export.training.examples import IGNORED, Batch
from stts_runtime.budget import TokenBudget


class Outcome(NamedTuple):
    answer_loss: Tensor
    score_loss: Tensor
    """0 where nothing was pruned."""
    right_BQ: Tensor
    """Whether the likeliest token is the one to be learned; True where nothing is to be learned."""


class Objective(nn.Module):
    """Runs vision and language as they are exported, on a batch."""

    def __init__(self, vision: Vision, language: Language) -> None:
        super().__init__()
        assert vision.config.scorer is not None
        self.vision, self.language, self.scored_layer = vision, language, vision.config.scorer.prune_at

    def forward(self, batch: Batch, budget: TokenBudget) -> Outcome:
        config = self.vision.config.vision
        patches_BTNP = patches_of_frames(batch.frames_BTHWC.flatten(0, 1), config).unflatten(0, (-1, budget.frames))
        layers = frozenset((*config.feature_layers, self.scored_layer))
        hidden = self.vision.hidden(patches_BTNP, budget, layers)
        visual = self.vision.visual_tokens(hidden, budget)
        logits = self._logits(batch, visual, hidden.kept_BK)
        targets = batch.targets_BQ.flatten()
        right = (logits.argmax(dim=-1) == targets) | (targets == IGNORED)
        answer_loss = F.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
        return Outcome(answer_loss, self._scores(hidden, budget), right.view_as(batch.targets_BQ))

    def _logits(self, batch: Batch, visual: Tensor, kept_BK: Tensor | None) -> Tensor:
        """(B * Q, vocabulary)."""
        places_BP = _places(batch, kept_BK)
        tokens_BL = torch.cat((batch.prefix_P[places_BP], batch.tokens_BQ), dim=1)
        positions_BL = torch.cat((places_BP, batch.offsets_BQ + len(batch.prefix_P)), dim=1)
        segments_BL = torch.cat((torch.zeros_like(places_BP), batch.segments_BQ), dim=1)
        rows = self.language.sequences(tokens_BL, positions_BL, visual, self._seen(tokens_BL, segments_BL))
        questions = rows.unflatten(0, tokens_BL.shape)[:, places_BP.shape[1] :]
        return self.language.logits(questions.flatten(0, 1))

    def _seen(self, tokens_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """The prefix sees itself, causally but for image tokens; a question sees the prefix and, causally, itself."""
        length = tokens_BL.shape[1]
        causal_LL = torch.ones(length, length, dtype=torch.bool, device=tokens_BL.device).tril()
        keys, queries = segments_BL[:, None, :], segments_BL[:, :, None]
        causal_BLL = causal_LL & ((keys == 0) | (keys == queries))
        if not self.language.config.two_way_images:
            return causal_BLL
        is_image_BL = self.language.is_image(tokens_BL)
        return causal_BLL | (is_image_BL[:, :, None] & is_image_BL[:, None, :])

    def _scores(self, hidden: Hidden, budget: TokenBudget) -> Tensor:
        """Mean squared error to 1 - cosine similarity with the same group one frame earlier, frames 2 to T."""
        scores = hidden.scores_BTG
        rows = hidden.by_layer[self.scored_layer]
        if scores is None:
            return rows.new_zeros(())
        # A target is not to be learned: else features could become alike to please the scores.
        features = by_group(rows.detach().float(), budget.frames, self.vision.config.vision).flatten(3)
        change = 1 - F.cosine_similarity(features[:, 1:], features[:, :-1], dim=-1)
        return F.mse_loss(scores[:, 1:], change)


def _places(batch: Batch, kept_BK: Tensor | None) -> Tensor:
    """Where the tokens that stay stand in the unpruned prefix, (B, tokens) ascending: also their positions."""
    clips = len(batch.tokens_BQ)
    if kept_BK is None:
        return torch.arange(len(batch.prefix_P), device=batch.prefix_P.device).expand(clips, -1)
    patches = batch.patch_places[kept_BK]
    return torch.cat((batch.text_places.expand(clips, -1), patches), dim=1).sort(dim=1).values
