"""One stream's view: every frame goes through the vision engine once, and an answer is about the last of them.

A frame's way: `see` makes its visual tokens and puts them into the ring; `ask` prefills the ring and decodes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.engines import LanguageEngine, LiveVisionEngine
from stts_runtime.errors import BundleError, PromptError
from stts_runtime.generate import Follow, generate, go_on
from stts_runtime.prompt import PromptBuilder
from stts_runtime.sources.frame import Frame
from stts_runtime.stopwatch import Stopwatch
from stts_runtime.stream.keys import KeyRule
from stts_runtime.stream.novelty import novelty
from stts_runtime.stream.ring import Ring, SeenFrame
from stts_runtime.video.resize import squashed

_LONGEST_WINDOW_SECONDS = 9999.9
"""Times in a prompt begin with the window; no window is longer."""


@dataclass(frozen=True)
class Said:
    """What was answered about the ring, and what it cost."""

    question: str
    text: str
    ended: bool
    generated: int
    prompt_tokens: int
    milliseconds: dict[str, float]
    first_token_at: float
    """On the clock of `time.monotonic`, as the next."""
    last_token_at: float


@dataclass(frozen=True)
class Engines:
    """What all streams share; they take turns."""

    bundle: Bundle
    vision: LiveVisionEngine
    language: LanguageEngine
    prompts: PromptBuilder

    @classmethod
    def of(cls, bundle: Bundle, vision: LiveVisionEngine, language: LanguageEngine) -> Engines:
        prompt = bundle.manifest.prompt
        return cls(bundle, vision, language, PromptBuilder(bundle.file(prompt.tokenizer).read_bytes(), prompt))


class Watcher:
    """Not thread-safe: it uses the language engine's cache while it answers."""

    def __init__(self, engines: Engines, frames: int, keys: KeyRule) -> None:
        """Raises `BundleError` if the bundle's language model takes no window of so many frames."""
        manifest = engines.bundle.manifest
        live = manifest.live
        if live is None or not 1 <= frames <= live.frames:
            longest = 0 if live is None else live.frames
            raise BundleError(
                f"a window of {frames} frames does not fit {engines.bundle.folder}, whose longest is {longest}; build "
                f"it with --budget frame --frames {frames}"
            )
        self._engines, self._keys = engines, keys
        self._image_size, self._eos_ids = manifest.vision.image_size, manifest.prompt.eos_ids
        self.ring = Ring(frames, manifest.language.visual_rows)
        self._since_key: int | None = None

    def see(self, frame: Frame) -> SeenFrame:
        """The newest frame of the stream."""
        newest = self.ring.newest
        since = None if self._since_key is None else self._since_key + 1
        is_key = self._keys.is_key(since, newest.novelty if newest else 0.0)
        stopwatch = Stopwatch()
        with stopwatch.stage("vision"):
            pixels = squashed(frame.image, self._image_size)
            output = self._engines.vision.run(pixels, newest.output.pooled if newest else None, key=is_key)
        self._since_key = 0 if is_key else since
        spent = stopwatch.milliseconds["vision"]
        seen = SeenFrame(output, frame.seconds, frame.captured, is_key, novelty(output.change), spent)
        self.ring.push(seen)
        return seen

    def check_questions(self, questions: Sequence[str]) -> None:
        """Raises `PromptError` if one cannot be asked, or does not fit beside the fullest window."""
        prompts, context = self._engines.prompts, self._engines.language.context
        manifest = self._engines.bundle.manifest
        kept = np.zeros((self.ring.length, manifest.vision.groups), dtype=np.bool_)
        kept.reshape(-1)[: manifest.language.visual_rows] = True
        prefix = prompts.video([_LONGEST_WINDOW_SECONDS] * self.ring.length, kept)
        for question in questions:
            prompts.check_question(question)
            tokens = len(prompts.question(question, prefix))
            if len(prefix) + tokens >= context:
                room = context - len(prefix) - 1
                raise PromptError(
                    f"the question {question!r} takes {tokens} tokens, and beside a window of {len(prefix)} the "
                    f"context of {context} leaves {room}; shorten it, or build with a larger --max-context"
                )

    def ask(self, question: str, max_tokens: int, follow: Follow = go_on) -> Said:
        """An answer about the ring as it is; `check_questions` has seen the question, `follow` hears of every token."""
        language, prompts = self._engines.language, self._engines.prompts
        stopwatch = Stopwatch()
        with stopwatch.stage("prefill_video"):
            prefix = prompts.video(self._times(), self.ring.kept)
            asked = prompts.question(question, prefix)
            language.rewind(0)
            language.show(self.ring.visual_tokens)
            language.prefill(prefix)
        with stopwatch.stage("prefill_question"):
            first = language.forward(asked)
        first_token_at = time.monotonic()
        with stopwatch.stage("decode"):
            generated = generate(language, first, asked.next_position, self._eos_ids, max_tokens, follow)
        return Said(
            question=question,
            text=prompts.text(generated.ids),
            ended=generated.ended,
            generated=len(generated.ids),
            prompt_tokens=len(prefix) + len(asked),
            milliseconds=stopwatch.milliseconds,
            first_token_at=first_token_at,
            last_token_at=time.monotonic(),
        )

    def _times(self) -> list[float]:
        """Times in the prompt begin with the window, as they did in training."""
        seconds: NDArray[np.float64] = np.array([one.seconds for one in self.ring.frames])
        return [float(time) for time in seconds - seconds[0]]
