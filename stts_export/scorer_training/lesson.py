"""What teaches the scorer: the unpruned model's own answers about the same clips, and change between frames.

The unpruned model answers the questions, greedily; the pruned one is to give every token of these answers the same
probabilities. That reaches the scorer through the log attention bias of the layer after it, and takes the place of the
task's loss in "Unified Spatio-Temporal Token Scoring for Efficient Video VLMs", arXiv 2603.18004, whose auxiliary loss
(scores against 1 - cosine similarity with the frame before) is taken as it is. Neither needs a label.

Both models are one: layers up to the scored one run once for both.

Change is taught first, alone: that needs those layers and nothing after them. A scorer that knows nothing yet keeps
groups at random, and from what that does to answers it learns to bias nothing rather than what to keep.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.modules.language import Language, Past
from stts_export.modules.selection import kept_groups
from stts_export.modules.vision import Hidden, Vision, whole_frames
from stts_export.modules.vit import patches_of_frames
from stts_export.scorer_training.batches import Clips
from stts_export.scorer_training.prompts import ANSWER, Asked, Prefixes, Prompts, kept_prefixes
from stts_export.scorer_training.pull import gently_pulled
from stts_export.training.terms import change_since_before, seen_in_segments
from stts_runtime.budget import TokenBudget

SCORE_WEIGHT = 0.5
"""Weight of the auxiliary loss relative to the answers'; as published."""


class ChangeOutcome(NamedTuple):
    """How far scores are from change, in means over clips, frames and groups."""

    loss: Tensor
    """Cross-entropy. Its lowest point is that of the squared distance, which the reference takes; that one's gradient
    vanishes with the scores, and change is a few hundredths nearly everywhere."""
    squared: Tensor
    """The squared distance."""
    mean: Tensor
    """Mean of change itself."""
    mean_square: Tensor
    """The same."""


class Outcome(NamedTuple):
    """Means over the clips."""

    change: ChangeOutcome
    answer_loss: Tensor | None
    """Kullback-Leibler divergence a token, in nats; None, as `agreement` is, where change alone was taught."""
    agreement: Tensor | None
    """Share of the answers' tokens that are the pruned model's first choice too."""
    kept_Bt: Tensor
    """Share of the groups kept of every frame but the first."""

    @property
    def loss(self) -> Tensor:
        auxiliary = SCORE_WEIGHT * self.change.loss
        return auxiliary if self.answer_loss is None else self.answer_loss + auxiliary


class Written(NamedTuple):
    """The unpruned model's answers, m tokens together."""

    asked: Asked
    """With the answers filled in."""
    places_m: Tensor
    """Where, in the flattened rows, each token is predicted."""
    logits_mV: Tensor


class Lesson:
    """Runs both models on clips of as many frames."""

    def __init__(self, vision: Vision, language: Language, prompts: Prompts) -> None:
        assert vision.config.scorer is not None
        self._vision, self._language, self._prompts = vision, language, prompts
        self._config, self._scored = vision.config.vision, vision.config.scorer.prune_at
        self._device = next(vision.parameters()).device

    def __call__(self, clips: Clips, keep: float) -> Outcome:
        frames_BTHWC = clips.frames_BTHWC.to(self._device)
        budget = TokenBudget(frames_BTHWC.shape[1], self._config.groups, keep)
        prefixes, asked = self._prompts.of(clips)
        prefixes = Prefixes(*(part.to(self._device) for part in prefixes))
        asked = Asked(*(part.to(self._device) for part in asked))
        scored, whole = self._unpruned(frames_BTHWC)
        written = self._answers(prefixes, asked, self._tokens(whole, budget))
        pruned = self._pruned(whole, scored, budget)
        logits = self._logits(prefixes, written, pruned, budget)
        return self._outcome(pruned, written.logits_mV, logits, scored, budget)

    def on_change(self, clips: Clips, keep: float) -> Outcome:
        """Nothing but what is up to the scored layer."""
        frames_BTHWC = clips.frames_BTHWC.to(self._device)
        budget = TokenBudget(frames_BTHWC.shape[1], self._config.groups, keep)
        with torch.no_grad():
            scored, _ = self._scored_layer(frames_BTHWC)
        scores_BTG = self._vision.scores(scored, budget)
        kept_BK = kept_groups(scores_BTG.detach(), budget)
        return Outcome(self._change(scores_BTG, scored, budget), None, None, _kept(kept_BK, budget))

    def _scored_layer(self, frames_BTHWC: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Its output, and those of the feature layers among it and those before."""
        vision = self._vision
        x = vision.vision_tower.embed(patches_of_frames(frames_BTHWC.flatten(0, 1), self._config))
        everywhere = whole_frames(frames_BTHWC.shape[:2].numel(), self._config.heads)
        before, scored = vision.run_blocks(
            x, range(self._scored + 1), everywhere, frozenset(self._config.feature_layers)
        )
        return scored, before

    @torch.no_grad()
    def _unpruned(self, frames_BTHWC: Tensor) -> tuple[Tensor, Hidden]:
        """Output of the scored layer, and the feature layers with nothing pruned."""
        vision, layers = self._vision, frozenset(self._config.feature_layers)
        everywhere = whole_frames(frames_BTHWC.shape[:2].numel(), self._config.heads)
        scored, before = self._scored_layer(frames_BTHWC)
        after, _ = vision.run_blocks(scored, range(self._scored + 1, self._config.layers), everywhere, layers)
        return scored, Hidden({**before, **after}, None, None)

    @torch.no_grad()
    def _tokens(self, whole: Hidden, budget: TokenBudget) -> Tensor:
        return self._vision.visual_tokens(whole, budget)

    def _pruned(self, whole: Hidden, scored: Tensor, budget: TokenBudget) -> Hidden:
        vision, layers = self._vision, frozenset(self._config.feature_layers)
        scores_BTG = vision.scores(scored, budget)
        kept_BK = kept_groups(scores_BTG.detach(), budget)
        pulled_BTG = gently_pulled(scores_BTG)
        hidden = vision.pruned_from(scored, pulled_BTG, kept_BK, budget, layers, vision.kept_unpacked)
        before = {layer: rows for layer, rows in whole.by_layer.items() if layer <= self._scored}
        return hidden._replace(scores_BTG=scores_BTG, by_layer={**before, **hidden.by_layer})

    @torch.no_grad()
    def _answers(self, prefixes: Prefixes, asked: Asked, visual: Tensor) -> Written:
        language, ids_BQ, past = self._language, asked.ids_BQ.clone(), Past()
        length = prefixes.ids_BP.shape[1]
        positions_BP = torch.arange(length, device=self._device).expand_as(prefixes.ids_BP)
        seen_BLL = self._seen(prefixes.ids_BP, prefixes.segments_BP, asked)
        language.sequences(prefixes.ids_BP, positions_BP, visual, seen_BLL[:, :length, :length], record=past)
        ends = self._prompts.ends.to(self._device)
        ended_n = torch.zeros_like(asked.last_n, dtype=torch.bool)
        places, logits = list[Tensor](), list[Tensor]()
        for place_n in (asked.last_n + step for step in range(ANSWER)):
            rows = language.sequences(ids_BQ, asked.positions_BQ, visual, seen_BLL[:, length:], before=past)
            logits_nV = language.logits(rows[place_n]).float()
            places.append(place_n[~ended_n])
            logits.append(logits_nV[~ended_n])
            next_n = logits_nV.argmax(dim=-1)
            ended_n = ended_n | torch.isin(next_n, ends)
            if len(places) == ANSWER or bool(ended_n.all()):
                break
            ids_BQ.view(-1)[place_n + 1] = torch.where(ended_n, 0, next_n)
        return Written(asked._replace(ids_BQ=ids_BQ), torch.cat(places), torch.cat(logits))

    def _logits(self, prefixes: Prefixes, written: Written, pruned: Hidden, budget: TokenBudget) -> Tensor:
        """What the pruned model says where the answers' tokens are predicted, (m, V)."""
        assert pruned.kept_BK is not None
        asked, visual = written.asked, self._vision.visual_tokens(pruned, budget)
        ids_BS, places_BS, segments_BS = kept_prefixes(prefixes, pruned.kept_BK)
        rows = self._language.sequences(
            torch.cat((ids_BS, asked.ids_BQ), dim=1),
            torch.cat((places_BS, asked.positions_BQ), dim=1),
            visual,
            self._seen(ids_BS, segments_BS, asked),
        )
        questions = rows.unflatten(0, (len(ids_BS), -1))[:, ids_BS.shape[1] :].flatten(0, 1)
        return self._language.logits(questions[written.places_m])

    def _seen(self, ids_BS: Tensor, segments_BS: Tensor, asked: Asked) -> Tensor:
        tokens_BL = torch.cat((ids_BS, asked.ids_BQ), dim=1)
        return seen_in_segments(self._language, tokens_BL, torch.cat((segments_BS, asked.segments_BQ), dim=1))

    def _outcome(
        self, pruned: Hidden, wanted_mV: Tensor, logits_mV: Tensor, scored: Tensor, budget: TokenBudget
    ) -> Outcome:
        assert pruned.scores_BTG is not None
        assert pruned.kept_BK is not None
        now, wanted = (F.log_softmax(logits.float(), dim=-1) for logits in (logits_mV, wanted_mV))
        answer_loss = F.kl_div(now, wanted, log_target=True, reduction="batchmean")
        agreement = (now.argmax(dim=-1) == wanted.argmax(dim=-1)).float().mean()
        change = self._change(pruned.scores_BTG, scored, budget)
        return Outcome(change, answer_loss, agreement, _kept(pruned.kept_BK, budget))

    def _change(self, scores_BTG: Tensor, scored: Tensor, budget: TokenBudget) -> ChangeOutcome:
        scores_BtG = scores_BTG[:, 1:].float()
        change_BtG = change_since_before(scored, budget.frames, self._config).clamp(0, 1)
        with torch.autocast(self._device.type, enabled=False):
            loss = F.binary_cross_entropy(scores_BtG, change_BtG)
        squared = F.mse_loss(scores_BtG.detach(), change_BtG)
        return ChangeOutcome(loss, squared, change_BtG.mean(), (change_BtG * change_BtG).mean())


def _kept(kept_BK: Tensor, budget: TokenBudget) -> Tensor:
    kept_BT = F.one_hot(kept_BK // budget.groups, budget.frames).sum(dim=1) / budget.groups
    return kept_BT[:, 1:]
