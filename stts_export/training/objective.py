"""What training minimises: the answers' cross-entropy, and how far scores are from what there is to see.

The answers' loss reaches the scorer through the attention bias of the layer after it, as in "Unified Spatio-Temporal
Token Scoring for Efficient Video VLMs", arXiv 2603.18004. The paper's second term teaches scores the change of features
since the frame before; here that is the ground's score alone, scaled down. Since synthetic clips know where everything
is, a group that holds something is worth more than any ground, even where the camera turns. What the ground is worth on
average is the same in all places of the frame: else the scorer takes up a habit, such as keeping the left half.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.language import Language
from stts_export.modules.vision import Hidden, Vision
from stts_export.modules.vit import patches_of_frames
from stts_export.training.examples import IGNORED, Batch
from stts_export.training.recipe import ScoreLoss
from stts_export.training.terms import change_since_before, seen_in_segments
from stts_runtime.budget import TokenBudget

_LEAST_SCORE = 1e-4


class Outcome(NamedTuple):
    answer_loss: Tensor
    score_loss: Tensor
    """0 where nothing was pruned."""
    right_BQ: Tensor
    """Whether the likeliest token is the one to be learned; True where nothing is to be learned."""


class Objective(nn.Module):
    """Runs vision and language as they are exported, on a batch."""

    def __init__(self, vision: Vision, language: Language, scores: ScoreLoss) -> None:
        super().__init__()
        assert vision.config.scorer is not None
        self.vision, self.language, self.scored_layer = vision, language, vision.config.scorer.prune_at
        self._parts = scores

    def forward(self, batch: Batch, budget: TokenBudget) -> Outcome:
        config = self.vision.config.vision
        patches_BTNP = patches_of_frames(batch.frames_BTHWC.flatten(0, 1), config).unflatten(0, (-1, budget.frames))
        layers = frozenset((*config.feature_layers, self.scored_layer))
        hidden = self.vision.hidden(patches_BTNP, budget, layers, noise=self._parts.noise if self.training else 0.0)
        visual = self.vision.visual_tokens(hidden, budget)
        logits = self._logits(batch, visual, hidden.kept_BK)
        targets = batch.targets_BQ.flatten()
        right = (logits.argmax(dim=-1) == targets) | (targets == IGNORED)
        answer_loss = F.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
        score_loss = self._scores(hidden, batch.worth_BTG, budget)
        return Outcome(answer_loss, score_loss, right.view_as(batch.targets_BQ))

    def _logits(self, batch: Batch, visual: Tensor, kept_BK: Tensor | None) -> Tensor:
        """(B * Q, vocabulary)."""
        places_BP = _places(batch, kept_BK)
        tokens_BL = torch.cat((batch.prefix_P[places_BP], batch.tokens_BQ), dim=1)
        positions_BL = torch.cat((places_BP, batch.offsets_BQ + len(batch.prefix_P)), dim=1)
        segments_BL = torch.cat((torch.zeros_like(places_BP), batch.segments_BQ), dim=1)
        seen_BLL = seen_in_segments(self.language, tokens_BL, segments_BL)
        rows = self.language.sequences(tokens_BL, positions_BL, visual, seen_BLL)
        questions = rows.unflatten(0, tokens_BL.shape)[:, places_BP.shape[1] :]
        return self.language.logits(questions.flatten(0, 1))

    def _scores(self, hidden: Hidden, worth_BTG: Tensor, budget: TokenBudget) -> Tensor:
        """Weighted mean squared error to what groups are worth, and the unevenness of the ground, frames 2 to T."""
        if hidden.scores_BTG is None:
            return worth_BTG.new_zeros(())
        scores, worth = hidden.scores_BTG[:, 1:], worth_BTG[:, 1:]
        holds = worth > 0
        change = change_since_before(hidden.by_layer[self.scored_layer], budget.frames, self.vision.config.vision)
        target = torch.where(holds, worth, self._parts.change * change)
        weight = torch.where(holds, self._parts.held, 1.0)
        distance = (weight * (scores - target).square()).sum() / weight.sum()
        return distance + self._parts.evenness * _unevenness(scores, ~holds)


def _unevenness(scores_BtG: Tensor, ground_BtG: Tensor) -> Tensor:
    """Variance between the places of the frame of the ground's mean score, in logits."""
    logits = torch.logit(scores_BtG, eps=_LEAST_SCORE)
    count_G = ground_BtG.sum(dim=(0, 1)).clamp(min=1)
    mean_G = (logits * ground_BtG).sum(dim=(0, 1)) / count_G
    return mean_G.var(correction=0)


def _places(batch: Batch, kept_BK: Tensor | None) -> Tensor:
    """Where the tokens that stay stand in the unpruned prefix, (B, tokens) ascending: also their positions."""
    clips = len(batch.tokens_BQ)
    if kept_BK is None:
        return torch.arange(len(batch.prefix_P), device=batch.prefix_P.device).expand(clips, -1)
    patches = batch.patch_places[kept_BK]
    return torch.cat((batch.text_places.expand(clips, -1), patches), dim=1).sort(dim=1).values
