"""From a request to a taught checkpoint: everything that could be wrong is looked at before a weight is read."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from stts_export.checkpoint import Checkpoint, open_checkpoint
from stts_export.checkpoint.write import replaceable_checkpoint
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig, ScorerConfig
from stts_export.scorer_training.batches import Schedule, Steps
from stts_export.scorer_training.clips import Footage, Problem, find_footage
from stts_export.scorer_training.frozen import load_frozen, scorer_of
from stts_export.scorer_training.lesson import Lesson
from stts_export.scorer_training.loop import Loop
from stts_export.scorer_training.memory import Needs, clips_at_once, estimated, free_bytes
from stts_export.scorer_training.plot import training_plot
from stts_export.scorer_training.prompts import Prompts
from stts_export.scorer_training.questions import Questions, read_questions
from stts_export.scorer_training.ranks import Ranks, is_first_process, joined_ranks, one_speaks
from stts_export.scorer_training.request import ScorerRequest
from stts_export.scorer_training.state import Report, RunFolder, log_bytes
from stts_export.scorer_training.write import write_taught
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.manifest import Positions
from stts_runtime.bundle.publish import check_apart, check_free
from stts_runtime.errors import UserError
from stts_runtime.places import check_folder, check_makeable
from stts_runtime.progress import in_words
from stts_runtime.tell import TellStep, tell_nobody
from stts_runtime.text import counted

_POSITIONS: Positions = "original"
"""Positions of kept tokens if the checkpoint does not say: their places in the unpruned prompt."""


@dataclass(frozen=True)
class Taught:
    """How it went."""

    steps: int
    seconds: float
    clips_at_once: int
    estimated_bytes: int
    peak_bytes: int | None
    """Peak GPU memory; None without a GPU."""
    last: Report


def train_scorer(request: ScorerRequest, tell: TellStep = tell_nobody) -> Taught:
    """Trains a scorer on the frozen checkpoint and writes it with the scorer in it.

    A run that was stopped continues from what was saved next to `out`. Raises `UserError` for what the caller can put
    right, before any weight is read where that is possible. Started by torchrun, each process calls this, and the first
    one tells and writes.
    """
    with one_speaks():
        replaceable = replaceable_checkpoint(request.force)
        check_apart(request.out, request.checkpoint)
        check_free(request.out, replaceable)
        lessons = _read(request, tell if is_first_process() else tell_nobody)
    checkpoint, scorer, positions = lessons.checkpoint, lessons.scorer, lessons.positions
    passed_over = _PassedOver(tell)
    with joined_ranks(request.device) as ranks:
        tell = tell if ranks.is_first else tell_nobody
        with one_speaks():
            footage = _looked_at(request, checkpoint, tell)
            _note_others(lessons.questions.about_others([one.name for one in footage]), tell)
            model = replace(checkpoint.config, scorer=scorer)
            needs, at_once = _fitting(request, checkpoint, model, footage, ranks, tell)
            vision, language = load_frozen(checkpoint, scorer, request.seed, ranks.device, tell)
            schedule = Schedule(request.frames, request.keeps, request.clips, request.seed)
            size = model.vision.frame_size
            steps = Steps(schedule, footage, lessons.questions, checkpoint.max_fps, size, ranks.number, ranks.count)
            loop = Loop(request, vision, Lesson(vision, language, lessons.prompts), steps, at_once, ranks)
            if loop.resume():
                tell(f"going on from step {loop.progress.step} of {request.folder}")
        taught = _taught(loop, request, ranks, needs, at_once, tell, passed_over)
        if ranks.is_first:
            about = json.dumps(_about(request, taught), indent=2).encode() + b"\n"
            beside = {"training.json": about, "training.jsonl": log_bytes(loop.reports), **_picture(loop.reports, tell)}
            weights = dict(scorer_of(vision).named_parameters())
            write_taught(checkpoint, scorer, weights, positions, request.out, beside, replaceable, tell)
            shutil.rmtree(request.folder, ignore_errors=True)
        return taught


class _Read(NamedTuple):
    """What is known before a weight is read."""

    checkpoint: Checkpoint
    scorer: ScorerConfig
    positions: Positions
    prompts: Prompts
    questions: Questions


def _read(request: ScorerRequest, tell: TellStep) -> _Read:
    check_makeable(request.folder)
    RunFolder(request.folder, request.settings()).check()
    check_folder(request.videos, wanted="a folder of videos")
    checkpoint = open_checkpoint(request.checkpoint, None, tell, lambda described: _scorer(request, described))
    positions = checkpoint.hf_config.stts.positions if checkpoint.hf_config.stts else None
    prompts = Prompts(checkpoint, positions or _POSITIONS)
    questions = read_questions(request.questions, prompts.check)
    return _Read(checkpoint, _scorer(request, checkpoint), positions or _POSITIONS, prompts, questions)


class _PassedOver:
    """Names a video that could be opened and not be read, once; every process has its own."""

    def __init__(self, tell: TellStep) -> None:
        self._tell, self._named = tell, set[str]()

    def __call__(self, problem: Problem) -> None:
        if problem.name not in self._named:
            self._named.add(problem.name)
            self._tell(f"note: passed over {problem.name}: {problem.why}")


def _scorer(request: ScorerRequest, checkpoint: Checkpoint) -> ScorerConfig:
    """Raises `CheckpointError` if there is one already that is to stay, or no such layer."""
    if checkpoint.config.scorer is not None and not request.replace:
        raise CheckpointError(
            f"{checkpoint.given} has a trained scorer already, which builds as it is; --replace teaches a new one from "
            "nothing and leaves that out"
        )
    stts, vision = checkpoint.hf_config.stts, checkpoint.config.vision
    layer = request.prune_at
    if layer is None:
        layer = vision.last_prune_at if stts is None else stts.prune_at
    # As wide as the tower's own MLP, as the reference code makes it.
    scorer = ScorerConfig(layer, vision.mlp_width, round(1 - request.keeps[0], 6))
    scorer.check_against(vision)
    return scorer


def _looked_at(request: ScorerRequest, checkpoint: Checkpoint, tell: TellStep) -> list[Footage]:
    """Raises `UserError` if no video can be used, or a window as large as asked for keeps too little."""
    vision, least = checkpoint.config.vision, _least_frames(min(request.keeps))
    for frames in request.frames:
        for keep in request.keeps:
            TokenBudget(frames, vision.groups, keep)
    found, problems = list[Footage](), list[Problem]()
    for one in find_footage(request.videos, least, checkpoint.max_fps, vision.frame_size):
        if isinstance(one, Footage):
            found.append(one)
            tell("looking at videos", len(found))
            continue
        problems.append(one)
        tell(f"note: left out {one.name}: {one.why}")
    if not found:
        raise UserError(f"none of the {len(problems)} videos in {request.videos} can be used: {problems[0].why}")
    tell(f"{counted(len(found), 'video')}, {len(problems)} left out")
    return found


def _note_others(names: Sequence[str], tell: TellStep) -> None:
    if names:
        are = "1 that is" if len(names) == 1 else f"{len(names)} that are"
        tell(f"note: questions are asked about {are} not among them, {names[0]}")


def _least_frames(keep: float) -> int:
    """The first frame is kept whole, so that windows of few frames keep more than a low ratio."""
    return next(frames for frames in range(2, 1 << 20) if round(keep, 6) >= round(1 / frames, 6))


def _fitting(
    request: ScorerRequest,
    checkpoint: Checkpoint,
    model: ModelConfig,
    footage: Sequence[Footage],
    ranks: Ranks,
    tell: TellStep,
) -> tuple[Needs, int]:
    """How many clips go through the model at once. Raises `UserError` if not even one fits."""
    frames = min(max(request.frames), max(one.frames for one in footage))
    needs = estimated(checkpoint, model, frames, max(request.keeps), ranks.device.type == "cuda")
    # Of all processes: one that ended by itself would leave the others waiting for it.
    free = ranks.least(free_bytes(ranks.device))
    at_once = clips_at_once(needs, -(-request.clips // ranks.count), free)
    tell(f"takes about {needs.in_words(at_once)}; {free / 1e9:.2f} GB are free on {ranks.device}")
    return needs, at_once


def _taught(
    loop: Loop,
    request: ScorerRequest,
    ranks: Ranks,
    needs: Needs,
    at_once: int,
    tell: TellStep,
    passed_over: _PassedOver,
) -> Taught:
    """Raises `UserError` if memory runs out after all."""
    on_gpu, first, started = ranks.device.type == "cuda", loop.progress.step, time.perf_counter()
    try:
        for report in loop.train(passed_over):
            a_step = (time.perf_counter() - started) / (report.step - first)
            tell(_line(report, request, a_step), report.step, request.steps)
            if report.step == request.change_steps:
                # Steps after it take many times as long.
                first, started = report.step, time.perf_counter()
    except torch.cuda.OutOfMemoryError:
        raise UserError(
            f"the GPU's memory is full after all, with {counted(at_once, 'clip')} at once; what was saved stays in "
            f"{request.folder}: take fewer --frames, and see what else runs there (nvidia-smi)"
        ) from None
    if not loop.reports:
        raise UserError(f"{request.folder} holds no report; delete it to start over")
    peak = torch.cuda.max_memory_allocated(ranks.device) if on_gpu else None
    last, estimate = loop.reports[-1], needs.of(at_once)
    tell(f"{counted(last.step, 'step')} in {last.seconds / 60:.1f} minutes")
    if peak is not None:
        tell(f"{peak / 1e9:.2f} GB of GPU memory at the peak; {estimate / 1e9:.2f} were estimated")
    return Taught(last.step, last.seconds, at_once, estimate, peak, last)


def _line(report: Report, request: ScorerRequest, seconds_a_step: float) -> str:
    on_change = report.step <= request.change_steps
    last = min(request.change_steps, request.steps) if on_change else request.steps
    left = max(min((last - report.step) * seconds_a_step, 60 * request.minutes - report.seconds), 0.0)
    explained = f"{report.explained:.1%}" if report.explained > 0 else "nothing"
    scores = f"scores {report.score_loss:.5f}, {explained} of change explained"
    if report.answer_loss is None or report.agreement is None:
        return f"training on change alone, {in_words(left)} of that left; {scores}"
    return (
        f"training, {in_words(left)} left; answers {report.answer_loss:.4f}, {report.agreement:.1%} of tokens as "
        f"unpruned; {scores}"
    )


def _about(request: ScorerRequest, taught: Taught) -> dict[str, Any]:
    # Their paths are private; the checkpoint may be passed on.
    places = {"checkpoint": request.checkpoint, "videos": request.videos, "questions": request.questions}
    named = {name: path and path.name for name, path in places.items()}
    return {
        "settings": {**request.settings(), **named},
        "steps": taught.steps,
        "seconds": round(taught.seconds, 1),
        "clips_at_once": taught.clips_at_once,
        "estimated_bytes": taught.estimated_bytes,
        "peak_gpu_bytes": taught.peak_bytes,
    }


def _picture(reports: list[Report], tell: TellStep) -> dict[str, bytes]:
    try:
        return {"training.png": training_plot(reports)}
    except ImportError:
        tell("note: matplotlib is not installed, so there is no picture: pip install 'stts-export[plot]'")
        return {}
