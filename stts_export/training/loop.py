"""The training loop: batches from worker processes, steps on one device, validation, the checkpoint."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader

from stts_calib.clips import Clip, Split
from stts_export.checkpoint.write import files_beside, write_checkpoint
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_export.training.examples import Batch, Batches, batch_of
from stts_export.training.objective import Objective
from stts_export.training.optimiser import Optimisers
from stts_export.training.precision import keep_in_float32, narrow_norms, reduced
from stts_export.training.recipe import Recipe, TrainingSetting
from stts_export.training.writer import Writer
from stts_runtime.bundle.publish import Replaceable


@dataclass
class Report:
    """What was found since the last report."""

    step: int
    seconds: float
    done: float
    """How much of the run is over, 0 to 1."""
    answer_loss: float
    score_loss: float
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    """By setting, then by kind and `all`; only after steps that end with a validation."""


class Run:
    """One training run of float32 modules, which it changes in place."""

    def __init__(
        self, recipe: Recipe, vision: Vision, language: Language, tokenizer: Tokenizer, device: str, workers: int
    ) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.device, self._workers = torch.device(device), workers
        self.model = vision.config
        self._objective = Objective(vision, language).to(self.device)
        assert vision.temporal_token_scorer is not None
        if self.device.type == "cuda":
            keep_in_float32(vision.temporal_token_scorer)
            narrow_norms(vision.vision_tower)
        self._optimisers = Optimisers((vision, language), recipe)

    def train(self) -> Iterator[Report]:
        """Trains to the end of the recipe; yields a report every few steps and at the end."""
        recipe, started = self.recipe, time.perf_counter()
        validation = self._validation_batches()
        losses: list[Tensor] = []
        for number, batch in enumerate(self._batches()):
            losses.append(self._step(batch, recipe.rate(number, time.perf_counter() - started)))
            step, done = number + 1, recipe.done(number + 1, time.perf_counter() - started)
            if step % recipe.report_every and done < 1:
                continue
            # Reading numbers waits for the device, so it is done now and then only.
            answer_loss, score_loss = torch.stack(losses).mean(dim=0).tolist()
            losses.clear()
            report = Report(step, time.perf_counter() - started, done, answer_loss, score_loss)
            if step % recipe.validate_every == 0 or done == 1:
                report.accuracy = {_name(batches[0].setting): self._accuracy(batches) for batches in validation}
            yield report
            if done == 1:
                return

    def write(self, out: Path, card: str, replaceable: Replaceable | None = None) -> None:
        """Writes the checkpoint folder."""
        weights = {**self._objective.vision.state_dict(), **self._objective.language.state_dict()}
        config = config_json(self.model, mark_ids(self.tokenizer), "float16", "original")
        cpu = {name: weight.detach().half().cpu() for name, weight in weights.items()}
        files = files_beside(self.tokenizer, self.model.vision.pool, card)
        write_checkpoint(out, config, cpu, cpu.__getitem__, files, replaceable)

    def _batches(self) -> Iterator[Batch]:
        loader = DataLoader(
            Batches(self.recipe, self.model.vision, self.tokenizer),
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=3 if self._workers else None,
            pin_memory=self.device.type == "cuda",
        )
        for batch in loader:
            yield _moved(batch, self.device)

    def _step(self, batch: Batch, rate: float) -> Tensor:
        """Both losses, still on the device."""
        with reduced(self.device):
            outcome = self._objective(batch, batch.setting.budget(self.model.vision))
        (outcome.answer_loss + self.recipe.score_weight * outcome.score_loss).backward()
        self._optimisers.step(rate)
        return torch.stack((outcome.answer_loss, outcome.score_loss)).detach()

    def _validation_batches(self) -> list[list[Batch]]:
        writer, size = Writer(Tokenizer.from_str(self.tokenizer.to_str())), self.recipe.clips_per_step
        settings = self.recipe.validated_settings
        clips = [Clip.make(Split.validation, number) for number in range(self.recipe.validation_clips)]
        parts = [clips[start : start + size] for start in range(0, len(clips), size)]
        return [[batch_of(part, self.model.vision, setting, writer) for part in parts] for setting in settings]

    @torch.no_grad()
    def _accuracy(self, batches: list[Batch]) -> dict[str, float]:
        """Share of answers that greedy decoding gets right: every token is the likeliest after the right ones."""
        hits: dict[str, list[bool]] = defaultdict(list)
        for batch in batches:
            budget = batch.setting.budget(self.model.vision)
            with reduced(self.device):
                right_BQ = self._objective(_moved(batch, self.device), budget).right_BQ
            for kinds, segments, right in zip(batch.kinds, batch.segments_BQ, right_BQ.cpu(), strict=True):
                for number, kind in enumerate(kinds, start=1):
                    hit = bool(right[segments == number].all())
                    hits[kind].append(hit)
                    hits["all"].append(hit)
        return {kind: sum(found) / len(found) for kind, found in hits.items()}


def _name(setting: TrainingSetting) -> str:
    return f"{setting.frames} frames, keep {setting.keep:g}"


def _moved(batch: Batch, device: torch.device) -> Batch:
    parts: list[Any] = [part.to(device, non_blocking=True) if isinstance(part, Tensor) else part for part in batch]
    return Batch(*parts)
