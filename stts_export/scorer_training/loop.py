"""The training loop: steps of clips, gradients of all processes, the state on disk, reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import AdamW
from torch.utils.data import DataLoader

from stts_export.modules.vision import Vision
from stts_export.scorer_training.batches import Step, Steps
from stts_export.scorer_training.clips import Problem
from stts_export.scorer_training.frozen import scorer_of
from stts_export.scorer_training.lesson import Lesson, Outcome
from stts_export.scorer_training.ranks import Ranks
from stts_export.scorer_training.request import ScorerRequest
from stts_export.scorer_training.state import (
    Progress,
    Report,
    RunFolder,
    optimiser_tensors,
    restore_optimiser,
)
from stts_export.training.precision import reduced

REPORT_EVERY = 10
"""Steps."""
SAVE_EVERY_SECONDS = 60.0
_WARM_UP_STEPS = 50
_RATE_OF_ANSWERS = 0.25
"""Share of the peak rate used after change was taught, so that it is not lost again."""
_BETAS, _WEIGHT_DECAY, _LONGEST_GRADIENT = (0.9, 0.98), 0.01, 1.0
_LEAST_VARIANCE = 1e-12
"""Variance of change if nothing changes anywhere."""
_TENTHS = (0.1, 0.5, 0.9)
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Without the memory-saving kernel, which has no gradient for a mask whose rows are of odd lengths."""


@dataclass
class _Means:
    """What was found since the last report, on the device: reading it waits for the device."""

    sums: list[Tensor] = field(default_factory=list)
    """Sums over all processes, in the order of `_sums`: means times the clips; clips; seconds."""
    kept: list[Tensor] = field(default_factory=list)
    """Kept counts of this process."""
    on_change: bool = False
    """Whether change alone was taught."""

    def report(self, progress: Progress) -> Report:
        totals = torch.stack(self.sums).sum(dim=0)
        answers, agreement, squared, mean, mean_square = (totals[:-2] / totals[-2].clamp(min=1)).tolist()
        explained = 1 - squared / max(mean_square - mean**2, _LEAST_VARIANCE)
        kept = torch.quantile(torch.cat(self.kept), torch.tensor(_TENTHS)) if self.kept else torch.zeros(3)
        low, middle, high = kept.tolist()
        answered = (None, None) if self.on_change else (answers, agreement)
        return Report(
            progress.step, progress.seconds, answered[0], squared, explained, answered[1], (low, middle, high)
        )


class Loop:
    """One run of the scorer of `vision`, which it changes in place."""

    def __init__(
        self, request: ScorerRequest, vision: Vision, lesson: Lesson, steps: Steps, at_once: int, ranks: Ranks
    ) -> None:
        self._request, self._lesson, self._steps, self._at_once, self._ranks = request, lesson, steps, at_once, ranks
        self._weights = dict(scorer_of(vision).named_parameters())
        self._optimiser = AdamW(self._weights.values(), betas=_BETAS, weight_decay=_WEIGHT_DECAY)
        self.progress = Progress()
        self._folder = RunFolder(request.folder, request.settings(), steps.material)
        self.reports: list[Report] = []

    def resume(self) -> bool:
        """Goes on where an earlier run of the same request was saved; whether there was one."""
        found = self._folder.read()
        if found is None:
            return False
        self.progress, tensors = found
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors.pop(f"weight {name}"))
        restore_optimiser(self._optimiser, self._weights, tensors)
        self.reports = self._folder.reports(until=self.progress.step)
        return True

    def train(self, tell_problem: Callable[[Problem], None]) -> Iterator[Report]:
        """To the end; yields a report every few steps and at the end, and saves now and then."""
        if self._done == 1:
            return
        means, saved = _Means(on_change=self.on_change), time.perf_counter()
        before, started = self.progress.seconds, time.perf_counter()
        for step in self._loaded():
            for problem in step.problems:
                tell_problem(problem)
            seconds = before + time.perf_counter() - started
            self._learn(step, means, seconds)
            self.progress = Progress(self.progress.step + 1, float(means.sums[-1][-1]))
            last = self._done == 1
            is_turn = self.progress.step == self._request.change_steps
            if not (last or is_turn) and self.progress.step % REPORT_EVERY:
                continue
            self.reports.append(means.report(self.progress))
            means = _Means(on_change=self.on_change)
            if last or time.perf_counter() - saved >= SAVE_EVERY_SECONDS:
                self._save()
                saved = time.perf_counter()
            yield self.reports[-1]
            if last:
                return

    @property
    def on_change(self) -> bool:
        """Whether the next step teaches change alone."""
        return self.progress.step < self._request.change_steps

    @property
    def _done(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min(1.0, max(self.progress.step / self._request.steps, self._by_time))

    @property
    def _by_time(self) -> float:
        return self.progress.seconds / (60 * self._request.minutes)

    def _rate(self) -> float:
        """A linear warm-up, then half a cosine to zero; for change alone, and once more for what follows."""
        turn = self._request.change_steps
        step = self.progress.step if self.on_change else self.progress.step - turn
        by_step = step / (min(turn, self._request.steps) if self.on_change else self._request.steps - turn)
        done = by_step if self.on_change else max(by_step, self._by_time)
        highest = self._request.rate * (_RATE_OF_ANSWERS if turn and not self.on_change else 1)
        return highest * min(1.0, (step + 1) / _WARM_UP_STEPS) * (1 + math.cos(math.pi * done)) / 2

    def _loaded(self) -> Iterable[Step]:
        workers = self._request.workers
        return DataLoader(
            self._steps,
            batch_size=None,
            sampler=range(self.progress.step, self._request.steps),
            num_workers=workers,
            prefetch_factor=2 if workers else None,
        )

    def _learn(self, step: Step, means: _Means, seconds: float) -> None:
        sums = torch.zeros(7, device=self._ranks.device)
        teach = self._lesson.on_change if self.on_change else self._lesson
        for clips in (part for alike in step.clips for part in alike.in_parts(self._at_once)):
            with sdpa_kernel(_ATTENTION):
                with reduced(self._ranks.device):
                    outcome = teach(clips, step.keep)
                (outcome.loss * clips.count).backward()
            sums[:-1] += _sums(outcome, clips.count)
            means.kept.append(outcome.kept_Bt.flatten().cpu())
        # The first process's clock is everybody's.
        sums[-1] = seconds if self._ranks.is_first else 0.0
        self._move(sums)
        means.sums.append(sums.cpu())

    def _move(self, sums: Tensor) -> None:
        """A step along the mean gradient of all clips of all processes; `sums` become theirs too."""
        weights = list(self._weights.values())
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        self._ranks.add_up([*gradients, sums])
        torch._foreach_div_(gradients, float(sums[-2].clamp(min=1)))
        torch.nn.utils.clip_grad_norm_(weights, _LONGEST_GRADIENT)
        self._optimiser.param_groups[0]["lr"] = self._rate()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def _save(self) -> None:
        if not self._ranks.is_first:
            return
        weights = {f"weight {name}": weight for name, weight in self._weights.items()}
        self._folder.save(self.progress, {**weights, **optimiser_tensors(self._optimiser, self._weights)})
        self._folder.log(self.reports)


def _sums(outcome: Outcome, clips: int) -> Tensor:
    change = outcome.change
    none = torch.zeros_like(change.mean)
    answered = [none if part is None else part for part in (outcome.answer_loss, outcome.agreement)]
    parts = torch.stack((*answered, change.squared, change.mean, change.mean_square)).detach() * clips
    return torch.cat((parts, parts.new_tensor([clips])))
