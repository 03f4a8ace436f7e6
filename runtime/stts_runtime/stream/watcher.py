"""One stream's view: every frame goes through the vision engine once, and an answer is about the last of them.

A frame's way: `input_of` is what the vision engine gets, together with frames of other streams, and `seen` puts what it
made of it into the ring; a `StreamWindow` is the ring as it was when somebody asked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import FREE, AnswerForm, AnswerPool, Conversation, Prefix
from stts_runtime.answering.generation import Stopwatch
from stts_runtime.bundle import Bundle
from stts_runtime.engines import (
    FrameInput,
    IncrementalOutput,
    IncrementalVisionEngine,
    LanguageEngine,
    LanguageSlots,
)
from stts_runtime.engines.finite import check_scores
from stts_runtime.errors import BundleError
from stts_runtime.sources.source import Frame
from stts_runtime.video.pixels import resize_to_square


@dataclass(frozen=True)
class KeyRule:
    """One every so many frames, and one behind a jump of novelty, so that what is new is seen whole.

    Two are never nearer than `at_least` frames: more would not fit the language model.
    """

    every: int
    at_least: int
    jump: float
    """Novelty of a frame above which the next is a key frame."""

    def is_key(self, since_key: int | None, last_novelty: float) -> bool:
        """`since_key` counts the frames from the last key frame to this one; None before the first."""
        if since_key is None or since_key >= self.every:
            return True
        return since_key >= self.at_least and last_novelty > self.jump


_SHARE = 9
"""A ninth of the picture: the smallest of what matters is larger than a group, and noise is everywhere a little."""


def novelty(change: NDArray[np.float32]) -> float:
    """Mean of the ninth of the groups that changed most, 0 to 1; a stream's first frame has 1."""
    count = math.ceil(len(change) / _SHARE)
    return float(np.sort(change)[-count:].mean())


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame that went through the vision engine; the picture itself is not kept."""

    output: IncrementalOutput
    seconds: float
    """On the stream's own time line."""
    captured: float
    """On the clock of `clock.now`."""
    is_key: bool
    novelty: float
    vision_ms: float


class Ring:
    """At most `frames` frames with at most `rows` visual tokens between them; the oldest go first."""

    def __init__(self, frames: int, rows: int) -> None:
        self._frames: deque[SeenFrame] = deque(maxlen=frames)
        self.length, self._rows = frames, rows

    def push(self, frame: SeenFrame) -> None:
        self._frames.append(frame)
        while sum(len(one.output.visual_tokens) for one in self._frames) > self._rows:
            self._frames.popleft()

    @property
    def is_full(self) -> bool:
        return len(self._frames) == self.length

    @property
    def newest(self) -> SeenFrame | None:
        return self._frames[-1] if self._frames else None

    @property
    def frames(self) -> list[SeenFrame]:
        """From the oldest to the newest."""
        return list(self._frames)


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """The ring at a moment, however it goes on."""

    frames: list[SeenFrame]
    """From the oldest to the newest, at least one."""

    @property
    def newest(self) -> SeenFrame:
        return self.frames[-1]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(frames, groups)."""
        return np.stack([one.output.kept for one in self.frames])

    def prefilled(self, conversation: Conversation) -> Prefix:
        """For any number of questions."""
        visual_tokens = np.concatenate([one.output.visual_tokens for one in self.frames])
        return conversation.watch(visual_tokens, self._times(), self.kept)

    def _times(self) -> list[float]:
        """Times in the prompt begin with the window, as they did in training."""
        seconds: NDArray[np.float64] = np.array([one.seconds for one in self.frames])
        return [float(time) for time in seconds - seconds[0]]


_LONGEST_WINDOW_SECONDS = 9999.9
"""Times in a prompt begin with the window; no window is longer."""


@dataclass(frozen=True)
class Engines:
    """What all streams share."""

    bundle: Bundle
    vision: IncrementalVisionEngine
    answers: AnswerPool

    @classmethod
    def of(cls, bundle: Bundle, vision: IncrementalVisionEngine, language: LanguageEngine) -> Engines:
        """For a language engine that nothing else uses."""
        return cls(bundle, vision, AnswerPool.over(bundle, LanguageSlots([language])))


def check_window(bundle: Bundle, frames: int) -> None:
    """Raises `BundleError` if the bundle's language model takes no window of so many frames."""
    live = bundle.manifest.live
    longest = 0 if live is None else live.frames
    if not 1 <= frames <= longest:
        raise BundleError(
            f"a window of {frames} frames does not fit {bundle.folder}, whose longest is {longest}; build it with "
            f"--budget frame --frames {frames}"
        )


def check_questions(
    bundle: Bundle,
    conversation: Conversation,
    frames: int,
    questions: Sequence[str],
    form: AnswerForm = FREE,
    max_tokens: int = 64,
) -> None:
    """Raises `PromptError` if one cannot be asked, or does not fit next to the fullest window with its answer.

    Thread-safe.
    """
    if not questions:
        return
    manifest = bundle.manifest
    kept = np.zeros((frames, manifest.vision.groups), dtype=np.bool_)
    kept.reshape(-1)[: manifest.language.visual_rows] = True
    prefix = conversation.prefix_of([_LONGEST_WINDOW_SECONDS] * frames, kept)
    conversation.check(questions, prefix, form, max_tokens)


class Watcher:
    """What one stream has seen. Used from one thread, but for `check_questions`."""

    def __init__(self, engines: Engines, frames: int, keys: KeyRule) -> None:
        """Raises `BundleError` if the bundle's language model takes no window of so many frames."""
        check_window(engines.bundle, frames)
        manifest = engines.bundle.manifest
        self.engines, self._keys = engines, keys
        self._image_size, self.scorer = manifest.vision.image_size, manifest.scorer
        self.ring = Ring(frames, manifest.language.visual_rows)
        self._since_key: int | None = None

    def see(self, frame: Frame) -> SeenFrame:
        """The newest frame of the stream, by itself."""
        (seen,) = see_together([(self, frame)])
        return seen

    def input_of(self, frame: Frame) -> FrameInput:
        """What the vision engine gets of the newest frame of the stream."""
        newest = self.ring.newest
        is_key = self._keys.is_key(self._since, newest.novelty if newest else 0.0)
        pixels = resize_to_square(frame.image, self._image_size)
        return FrameInput(pixels, newest.output.pooled if newest else None, is_key)

    def seen(self, frame: Frame, given: FrameInput, output: IncrementalOutput, milliseconds: float) -> SeenFrame:
        """What became of it. Raises `EngineError` for NaN among the scores."""
        check_scores(output.scores)
        self._since_key = 0 if given.key else self._since
        moved = novelty(output.change)
        seen = SeenFrame(output, frame.seconds, frame.captured, given.key, moved, milliseconds)
        self.ring.push(seen)
        return seen

    @property
    def _since(self) -> int | None:
        """From the last key frame to the frame that comes next."""
        return None if self._since_key is None else self._since_key + 1

    def check_questions(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """Raises `PromptError` if one cannot be asked, or does not fit next to the fullest window with its answer.

        Thread-safe.
        """
        engines = self.engines
        conversation = engines.answers.conversations[0]
        check_questions(engines.bundle, conversation, self.ring.length, questions, form, max_tokens)

    def window(self) -> StreamWindow:
        """The ring as it is now. It must hold a frame."""
        return StreamWindow(self.ring.frames)


def see_together(looks: Sequence[tuple[Watcher, Frame]]) -> list[SeenFrame]:
    """The newest frame of each of these streams, which share engines; `vision_ms` of each is the time of all."""
    if not looks:
        return []
    stopwatch = Stopwatch()
    with stopwatch.stage("vision"):
        inputs = [watcher.input_of(frame) for watcher, frame in looks]
        outputs = looks[0][0].engines.vision.run_many(inputs)
    spent = stopwatch.milliseconds["vision"]
    return [
        watcher.seen(frame, given, output, spent)
        for (watcher, frame), given, output in zip(looks, inputs, outputs, strict=True)
    ]
