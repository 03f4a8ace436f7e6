"""One stream's view: every frame goes through the vision engine once, and an answer is about the last of them.

A frame's way: `see` makes its visual tokens and puts them into the ring; `watch` prefills the ring, `ask` decodes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering import FREE, AnswerForm, Conversation, OnToken, Prefix, Reply, go_on
from stts_runtime.answering.generation import Stopwatch
from stts_runtime.bundle import Bundle
from stts_runtime.engines import IncrementalOutput, IncrementalVisionEngine, LanguageEngine
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

    @property
    def visual_tokens(self) -> NDArray[np.generic]:
        """(rows, width), frame by frame."""
        return np.concatenate([one.output.visual_tokens for one in self._frames])

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(frames, groups)."""
        return np.stack([one.output.kept for one in self._frames])


_LONGEST_WINDOW_SECONDS = 9999.9
"""Times in a prompt begin with the window; no window is longer."""


@dataclass(frozen=True)
class Engines:
    """What all streams share; they take turns."""

    bundle: Bundle
    vision: IncrementalVisionEngine
    conversation: Conversation

    @classmethod
    def of(cls, bundle: Bundle, vision: IncrementalVisionEngine, language: LanguageEngine) -> Engines:
        """For a language engine that nothing else uses."""
        return cls(bundle, vision, Conversation.over(bundle, language))


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
    """Not thread-safe: it uses the language engine's cache while it answers."""

    def __init__(self, engines: Engines, frames: int, keys: KeyRule) -> None:
        """Raises `BundleError` if the bundle's language model takes no window of so many frames."""
        check_window(engines.bundle, frames)
        manifest = engines.bundle.manifest
        self._engines, self._keys = engines, keys
        self._image_size, self.scorer = manifest.vision.image_size, manifest.scorer
        self.ring = Ring(frames, manifest.language.visual_rows)
        self._since_key: int | None = None

    def see(self, frame: Frame) -> SeenFrame:
        """The newest frame of the stream."""
        newest = self.ring.newest
        since = None if self._since_key is None else self._since_key + 1
        is_key = self._keys.is_key(since, newest.novelty if newest else 0.0)
        stopwatch = Stopwatch()
        with stopwatch.stage("vision"):
            pixels = resize_to_square(frame.image, self._image_size)
            output = self._engines.vision.run(pixels, newest.output.pooled if newest else None, key=is_key)
            check_scores(output.scores)
        self._since_key = 0 if is_key else since
        spent = stopwatch.milliseconds["vision"]
        seen = SeenFrame(output, frame.seconds, frame.captured, is_key, novelty(output.change), spent)
        self.ring.push(seen)
        return seen

    def check_questions(self, questions: Sequence[str], form: AnswerForm = FREE, max_tokens: int = 64) -> None:
        """Raises `PromptError` if one cannot be asked, or does not fit next to the fullest window with its answer.

        Thread-safe.
        """
        engines = self._engines
        check_questions(engines.bundle, engines.conversation, self.ring.length, questions, form, max_tokens)

    def watch(self) -> Prefix:
        """Prefills the ring as it is, for any number of questions."""
        return self._engines.conversation.watch(self.ring.visual_tokens, self._times(), self.ring.kept)

    def ask(
        self,
        prefix: Prefix,
        question: str,
        max_tokens: int,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
    ) -> Reply:
        """Answers a question about what was watched last; `on_token` is called after every token."""
        return self._engines.conversation.ask(prefix, question, max_tokens, on_token, form)

    def _times(self) -> list[float]:
        """Times in the prompt begin with the window, as they did in training."""
        seconds: NDArray[np.float64] = np.array([one.seconds for one in self.ring.frames])
        return [float(time) for time in seconds - seconds[0]]
