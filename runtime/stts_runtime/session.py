"""Clips: what a file gives a variant to look at, and a bundle's vision variants in front of a conversation.

A window's way through here: `watch` runs the vision engine and prefills its visual tokens; `ask` goes back to the end
of the video in the cache, appends a question there and decodes the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import FREE, AnswerForm, AnswerPool, Conversation, OnToken, Prefix, Reply, Turn, go_on
from stts_runtime.answering.generation import Stopwatch
from stts_runtime.bundle import Bundle, Manifest
from stts_runtime.device import selected_gpu
from stts_runtime.engines import EngineName, VisionEngine, VisionOutput, load_vision
from stts_runtime.engines.finite import check_scores
from stts_runtime.records import Answer
from stts_runtime.video import FrameArray, VideoFile, Window, rule_count, window_of_file


@dataclass(frozen=True)
class Wanted:
    """What a variant should be like; None leaves it to the bundle and the clip."""

    keep: float | None = None
    budget: str | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Clip:
    """Timed frames, and the variant that fits them best."""

    bundle: Bundle
    video: VideoFile | FrameArray
    variant: str
    notes: list[str]
    milliseconds: float
    """What opening and timing it took."""

    @classmethod
    def open(cls, bundle: Bundle, source: str, wanted: Wanted, nvdec: bool = False) -> Clip:
        """Raises `SourceError` for a file that cannot be used, `BundleError` where no variant fits."""
        stopwatch = Stopwatch()
        with stopwatch.stage("read"):
            video = VideoFile(source, nvdec=nvdec)
        return cls.of(bundle, video, wanted, stopwatch.milliseconds["read"])

    @classmethod
    def of(cls, bundle: Bundle, video: VideoFile | FrameArray, wanted: Wanted, milliseconds: float = 0.0) -> Clip:
        """Raises `BundleError` where no variant fits."""
        manifest = bundle.manifest
        count = rule_count(video.duration_seconds, manifest.max_fps)
        at_most = min(count, video.frames) if wanted.frames is None else None
        name = bundle.choose(wanted.keep, wanted.budget, wanted.frames, at_most)
        notes, taken = list(video.notes), manifest.variants[name].frames
        if taken != count:
            notes.append(
                f"{manifest.max_fps:g} frames a second would be {count} frames; the variant takes {taken}, evenly "
                f"from start to end"
            )
        return cls(bundle, video, name, notes, milliseconds)

    def window(self) -> tuple[Window, float]:
        """The frames that the variant takes, and the milliseconds that it took to have them since `open`."""
        manifest, stopwatch = self.bundle.manifest, Stopwatch()
        with stopwatch.stage("read"):
            frames = manifest.variants[self.variant].frames
            size, video = manifest.vision.image_size, self.video
            if isinstance(video, FrameArray):
                window = video.window(frames, manifest.max_fps, size)
            else:
                window = window_of_file(video, frames, manifest.max_fps, size)
        return window, self.milliseconds + stopwatch.milliseconds["read"]


NOISE = "this checkpoint has random weights: its answers are noise"
UNTRAINED = "no scorer was trained for this model: groups are kept by how much they changed since the frame before"


def notes_about(manifest: Manifest, keep: float) -> list[str]:
    """What goes with every answer at this keep ratio."""
    scorer = manifest.scorer
    untrained = [UNTRAINED] if keep < 1 and scorer is not None and not scorer.trained else []
    return [*untrained, *([NOISE] if manifest.random_weights else [])]


@dataclass(eq=False)
class Watched:
    """A window whose visual tokens are in the language model's cache."""

    window: Window
    vision: VisionOutput
    prefix: Prefix
    spent: dict[str, float]
    """Milliseconds by stage, before the prefill, which the first question pays."""
    notes: list[str]
    reused_vision: bool = False
    """Whether an earlier question has paid for the visual tokens."""

    def paid(self) -> None:
        """By a question that was answered."""
        self.spent, self.reused_vision = dict.fromkeys(self.spent, 0.0), True


class Session:
    """One vision variant of a bundle. Not thread-safe: it uses the cache of its conversation's engine."""

    def __init__(self, bundle: Bundle, variant: str, vision: VisionEngine, conversation: Conversation) -> None:
        """`conversation` is one about this bundle; sessions that take turns may share it."""
        self._bundle, self.variant = bundle, variant
        self._budget = bundle.manifest.budget(bundle.manifest.variants[variant])
        self._vision, self._conversation = vision, conversation
        self.scorer = None if self._budget.scope == "given" or self._budget.keep == 1 else bundle.manifest.scorer
        """What chooses the groups that are kept; None where all are, or a control is told which."""
        self._notes = notes_about(bundle.manifest, self._budget.keep)

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        variant: str,
        conversation: Conversation | None = None,
        engine: EngineName = "cpu",
        device: str | None = None,
    ) -> Session:
        """Loads the variant's engines; everything they need is checked first.

        A shared `conversation` must have an engine of the same kind as `engine`, on the same GPU. `device` names a GPU
        (cuda:0, cuda:1, ...); None: the one that is selected (`select_gpu`).
        """
        with selected_gpu(device):
            vision = load_vision(bundle, variant, engine)
            return cls(bundle, variant, vision, conversation or Conversation.open(bundle, engine))

    @property
    def lowerings(self) -> tuple[str, str]:
        """Which graphs of the vision variant and of the language model run, or were compiled."""
        return self._vision.lowering, self._conversation.lowering

    def check_questions(
        self, questions: Sequence[str], watched: Watched, form: AnswerForm = FREE, max_tokens: int = 64
    ) -> None:
        """Raises `PromptError` if a question cannot be asked about this window, or not be answered in this form."""
        self._conversation.check(questions, watched.prefix.tokens, form, max_tokens)

    def text(self, ids: Sequence[int]) -> str:
        """Generated tokens as text, also while more are to come."""
        return self._conversation.text(ids)

    def watch(
        self,
        window: Window,
        read_milliseconds: float = 0.0,
        notes: Sequence[str] = (),
        given: NDArray[np.bool_] | None = None,
    ) -> Watched:
        """Computes a window's visual tokens and prefills them; forgets the window before.

        `given` (T, G) says what to keep, for control variants only.
        """
        stopwatch = Stopwatch()
        with stopwatch.stage("vision"):
            vision = self.see(window, given)
        prefix = self._conversation.watch(vision.visual_tokens, window.times_seconds.tolist(), vision.kept)
        return Watched(window, vision, prefix, {"read": read_milliseconds, **stopwatch.milliseconds}, list(notes))

    def see(self, window: Window, given: NDArray[np.bool_] | None = None) -> VisionOutput:
        """A window's visual tokens, which the vision engine overwrites with its next run. Raises `EngineError` for NaN
        among the scores.
        """
        vision = self._vision.run(window.frames, given)
        check_scores(vision.scores)
        return vision

    def kept_aside(self, vision: VisionOutput) -> VisionOutput:
        """What was seen last, in the host's memory: float32, which the language engine takes for the same values."""
        return replace(vision, visual_tokens=self._vision.downloaded(vision))

    def ask(
        self,
        watched: Watched,
        question: str,
        max_tokens: int = 64,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """Answers a question about the window that was watched last, after the turns of `history`; `on_token` is
        called after every token.
        """
        reply = self._conversation.ask(watched.prefix, question, max_tokens, on_token, form, history)
        answer = self.record(
            watched.window, watched.vision, reply, watched.spent, watched.notes, reused_vision=watched.reused_vision
        )
        watched.paid()
        return answer

    def record(
        self,
        window: Window,
        vision: VisionOutput,
        reply: Reply,
        spent: Mapping[str, float],
        notes: Sequence[str],
        *,
        reused_vision: bool,
    ) -> Answer:
        """An answer about a window that this variant saw. `spent` and `notes` are those from before the prefill."""
        return Answer.about(
            window,
            vision.kept,
            reply,
            variant=self.variant,
            keep=self._budget.keep,
            budget=self._budget.scope,
            scorer=self.scorer,
            watching=spent,
            notes=[*notes, *window.notes, *self._notes],
            reused_vision=reused_vision,
        )


class Sessions:
    """Loads a variant when it is first asked for. Not thread-safe: all share one conversation."""

    def __init__(self, bundle: Bundle, engine: EngineName, device: str | None = None, most: int = 1) -> None:
        """`device` as in `Session.open`; `most` answers at once, of which sessions themselves give one."""
        self._bundle, self._engine, self._device, self._most = bundle, engine, device, most
        self._answers: AnswerPool | None = None
        self._open: dict[str, Session] = {}

    @property
    def answers(self) -> AnswerPool:
        if self._answers is None:
            with selected_gpu(self._device):
                self._answers = AnswerPool.open(self._bundle, self._most, self._engine)
        return self._answers

    @property
    def conversation(self) -> Conversation:
        return self.answers.conversations[0]

    def of(self, variant: str) -> Session:
        if variant not in self._open:
            conversation = self.conversation
            self._open[variant] = Session.open(self._bundle, variant, conversation, self._engine, self._device)
        return self._open[variant]
