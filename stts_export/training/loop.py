"""The training loop: batches from worker processes, steps on one device, validation, the checkpoint."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Value
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stts_export.checkpoint.write import files_beside, write_checkpoint
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_export.training.examples import Batch, TrainingBatches, ValidationBatches
from stts_export.training.fusing import fuse_blocks
from stts_export.training.objective import Objective
from stts_export.training.optimiser import Optimisers
from stts_export.training.precision import keep_in_float32, narrow_norms, reduced
from stts_export.training.recipe import Recipe
from stts_export.training.state import Progress, read_state, write_state
from stts_export.training.stopwatch import Stopwatch
from stts_runtime.bundle.publish import Replaceable


@dataclass
class Report:
    """What was found since the last report."""

    step: int
    seconds: float
    """Training time, all parts together."""
    done: float
    """How much of the run is over, 0 to 1."""
    clips: int
    """Seen so far."""
    answer_loss: float
    score_loss: float
    step_ms: dict[str, float]
    """By setting, the median: what a step takes where the device is the limit."""
    waiting_ms: float
    """Mean time per step spent waiting for clips."""
    not_fused: str | None
    """Why blocks of the tower run as they are; None where they are compiled."""
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    """By setting, then by kind and `all`; only after steps that end with a validation."""


class Run:
    """One training run of float32 modules, which it changes in place; a part of it at a time."""

    def __init__(
        self,
        recipe: Recipe,
        vision: Vision,
        language: Language,
        tokenizer: Tokenizer,
        device: str,
        workers: int,
        fuse: bool = False,
    ) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.device, self._workers = torch.device(device), workers
        self.model = vision.config
        self.progress = Progress()
        self._objective = Objective(vision, language, recipe.scores).to(self.device)
        assert vision.temporal_token_scorer is not None
        if self.device.type == "cuda":
            keep_in_float32(vision.temporal_token_scorer)
            narrow_norms(vision.vision_tower)
        self._fuse = fuse
        self._optimisers = Optimisers((vision, language), recipe)

    def train(self, minutes: float = math.inf) -> Iterator[Report]:
        """Trains for so long, or to the end of the recipe; yields a report every few steps and at the end.

        Starting workers and compiling count. The last report of a part has an accuracy.
        """
        recipe, before, started, losses = self.recipe, self.progress.seconds, time.perf_counter(), list[Tensor]()
        # All worker processes start before anything is compiled: a fork while a compiler's threads run may hang.
        batches, _ = self._batches(), self._validation
        self._not_fused = self._fused() if self._fuse else "not asked for"
        watch = Stopwatch()
        for batch in (_moved(batch, self.device) for batch in batches):
            watch.got(batch)
            losses.append(self._step(batch, recipe.rate(self.progress.step, self.progress.seconds)))
            seconds = time.perf_counter() - started
            self.progress.after(batch, before + seconds)
            self._done.value = recipe.done(self.progress.step, self.progress.seconds)
            last = self._done.value == 1 or seconds >= 60 * minutes
            if last or self.progress.step % recipe.report_every == 0:
                # Reading numbers waits for the device, so it is done now and then only.
                report = self._report(losses, watch)
                if last or self.progress.step % recipe.validate_every == 0:
                    report.accuracy = self._validated()
                losses.clear()
                yield report
            if last:
                return
            watch.waits()

    def save(self, folder: Path) -> None:
        """Writes all that `resume` needs."""
        write_state(folder, self.progress, self.recipe.seed, self._weights(), self._optimisers.state())

    def resume(self, folder: Path) -> None:
        """Goes on where another run stopped. Raises `UserError` if that was one of another model or seed."""
        self.progress, memory = read_state(folder, self.recipe.seed, self._weights())
        self._optimisers.restore(memory)

    def write(self, out: Path, card: str, replaceable: Replaceable | None = None) -> None:
        """Writes the checkpoint folder."""
        weights = self._weights()
        config = config_json(self.model, mark_ids(self.tokenizer), "float16", "original")
        cpu = {name: weight.detach().half().cpu() for name, weight in weights.items()}
        files = files_beside(self.tokenizer, self.model.vision.pool, card)
        write_checkpoint(out, config, cpu, cpu.__getitem__, files, replaceable)

    def _fused(self) -> str | None:
        vision = self.model.vision
        return fuse_blocks(self._objective.vision, self.device, self.recipe.frames_per_step * vision.patches)

    def _batches(self) -> Iterator[Batch]:
        self._done: Synchronized[float] = Value("d", self.recipe.done(self.progress.step, self.progress.seconds))
        batches = TrainingBatches(self.recipe, self.model.vision, self.tokenizer, self._done)
        return self._loaded(batches, range(self.progress.step, len(batches)), prefetched=2)

    def _loaded(self, batches: Dataset[Batch], order: Sequence[int], prefetched: int) -> Iterator[Batch]:
        loader: Iterable[Batch] = DataLoader(
            batches,
            batch_size=None,
            sampler=order,
            num_workers=self._workers,
            prefetch_factor=prefetched if self._workers else None,
            pin_memory=self.device.type == "cuda",
        )
        return iter(loader)

    def _step(self, batch: Batch, rate: float) -> Tensor:
        """Both losses, still on the device."""
        self._objective.train()
        with reduced(self.device):
            outcome = self._objective(batch, batch.setting.budget(self.model.vision))
        (outcome.answer_loss + self.recipe.scores.weight * outcome.score_loss).backward()
        self._optimisers.step(rate)
        return torch.stack((outcome.answer_loss, outcome.score_loss)).detach()

    def _report(self, losses: list[Tensor], watch: Stopwatch) -> Report:
        answer_loss, score_loss = torch.stack(losses).mean(dim=0).tolist()
        now, (step_ms, waiting_ms) = self.progress, watch.read()
        return Report(
            now.step, now.seconds, self._done.value, now.clips, answer_loss, score_loss, step_ms, waiting_ms,
            self._not_fused,
        )  # fmt: skip

    def _weights(self) -> dict[str, Tensor]:
        return {**self._objective.vision.state_dict(), **self._objective.language.state_dict()}

    def _validated(self) -> dict[str, dict[str, float]]:
        """Accuracy by setting."""
        by_setting: dict[str, list[Batch]] = defaultdict(list)
        for batch in self._validation:
            by_setting[batch.setting.name].append(batch)
        return {name: self._accuracy(batches) for name, batches in by_setting.items()}

    @functools.cached_property
    def _validation(self) -> list[Batch]:
        batches = ValidationBatches(self.recipe, self.model.vision, self.tokenizer)
        return list(self._loaded(batches, range(len(batches)), prefetched=1))

    @torch.no_grad()
    def _accuracy(self, batches: list[Batch]) -> dict[str, float]:
        """Share of answers that greedy decoding gets right: every token is the likeliest after the right ones."""
        self._objective.eval()
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


def _moved(batch: Batch, device: torch.device) -> Batch:
    parts: list[Any] = [part.to(device, non_blocking=True) if isinstance(part, Tensor) else part for part in batch]
    return Batch(*parts)
