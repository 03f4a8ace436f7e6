"""Questions and answers about windows: clips, streams and pictures are all answered here, by greedy decoding.

It knows neither where a window comes from nor what becomes of the answer; adapters do (`session.py` for clips,
`stream/watcher.py` for streams, `serve/engine_worker.py` for pictures).
"""

from __future__ import annotations

import reprlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, LanguageEngine, load_language
from stts_runtime.engines.finite import check_logits
from stts_runtime.errors import PromptError, UserError
from stts_runtime.prompt import PromptBuilder, Tokens

Finish = Literal["end", "length"]
"""`end`: the model ended its text; `length`: the token budget or the context was used up."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = 60


class Stopwatch:
    """Adds up wall time under names, in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1000
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent


OnToken = Callable[[Sequence[int]], bool]
"""Called after each token with all token ids so far; returns whether to go on."""


def go_on(_: Sequence[int]) -> bool:
    """An `OnToken` that never stops."""
    return True


class Generation(NamedTuple):
    """What the engine chose, and when."""

    ids: list[int]
    """Tokens of the answer, the end-of-text token included."""
    ended: bool
    """Whether the last one is an end-of-text token."""
    milliseconds: dict[str, float]
    """`prefill_question` and `decode`."""
    first_token_at: float
    """On the clock of `clock.now`, like the next."""
    last_token_at: float


@dataclass(eq=False)
class Prefix:
    """A window that was watched. It can be asked about until another one is watched."""

    window_id: int
    tokens: Tokens
    milliseconds: float
    """Time to prefill it."""
    questions: int = 0
    """How many were answered."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Reply:
    """An answer in text, and its cost."""

    question: str
    text: str
    generation: Generation
    prompt_tokens: int
    """Of the window and the question together."""
    milliseconds: dict[str, float]
    """`prefill_video`, which the first question about a window pays, `prefill_question` and `decode`."""
    reused_prefix: bool
    """Whether an earlier question paid for the window."""

    @property
    def finish(self) -> Finish:
        return "end" if self.generation.ended else "length"


class Conversation:
    """One language engine and what its cache holds: a window, then one question about it at a time.

    All parts that use an engine share its conversation, which is how a stale window is noticed. Not thread-safe, except
    where a method says so.
    """

    def __init__(self, language: LanguageEngine, prompts: PromptBuilder, eos_ids: Collection[int]) -> None:
        self._language, self._prompts, self._eos_ids = language, prompts, eos_ids
        self._window_id = 0
        self._busy = threading.Lock()

    @classmethod
    def over(cls, bundle: Bundle, language: LanguageEngine) -> Conversation:
        """With the prompts of a bundle. Raises `BundleError` if its tokenizer does not fit its manifest."""
        return cls(language, PromptBuilder.of(bundle), bundle.manifest.prompt.eos_ids)

    @classmethod
    def open(cls, bundle: Bundle, engine: EngineName = "cpu") -> Conversation:
        """Checks and loads the bundle's language model."""
        return cls.over(bundle, load_language(bundle, engine))

    @property
    def lowering(self) -> str:
        return self._language.lowering

    def watch(self, visual_tokens: Any, times_seconds: Sequence[float], kept: NDArray[np.bool_]) -> Prefix:
        """Prefills a window in place of the last one; `kept` (T, G) says which groups have a visual token.

        Raises `PromptError` if it leaves no room for a question.
        """
        stopwatch = Stopwatch()
        with self._alone(), stopwatch.stage("prefill_video"):
            tokens = self.prefix_of(times_seconds, kept)
            self._window_id += 1
            fill(self._language, visual_tokens, tokens)
        return Prefix(self._window_id, tokens, stopwatch.milliseconds["prefill_video"])

    def prefix_of(self, times_seconds: Sequence[float], kept: NDArray[np.bool_]) -> Tokens:
        """The prompt of a window, without prefilling it. Raises `PromptError` as `watch` does. Thread-safe."""
        tokens, context = self._prompts.video(times_seconds, kept), self._language.context
        if len(tokens) >= context:
            raise PromptError(
                f"the video takes {len(tokens)} tokens and the context holds {context}; use fewer frames or a lower "
                "keep, or build with a larger --max-context"
            )
        return tokens

    def check(self, questions: Sequence[str], prefix: Tokens | None = None) -> None:
        """Raises `PromptError` if a question cannot be asked; with a prefix, also if it does not fit next to it.

        Thread-safe.
        """
        for question in questions:
            self._prompts.check_question(question)
            if prefix is not None:
                self._asked(question, prefix)

    def ask(self, prefix: Prefix, question: str, max_tokens: int = 64, on_token: OnToken = go_on) -> Reply:
        """Answers a question about the window that was watched last. Raises `EngineError` for NaN."""
        if max_tokens < 1:
            raise UserError(f"an answer needs at least 1 token, got {max_tokens}")
        if prefix.window_id != self._window_id:
            raise UserError("this window is no longer in the cache; watch it again before asking about it")
        stopwatch, reused = Stopwatch(), prefix.questions > 0
        with stopwatch.stage("tokenize"):
            asked = self._asked(question, prefix.tokens)
        with self._alone():
            made = self._generated(len(prefix), asked, max_tokens, on_token)
        prefix.questions += 1
        spent = {"prefill_video": 0.0 if reused else prefix.milliseconds, **made.milliseconds}
        spent["prefill_question"] += stopwatch.milliseconds["tokenize"]
        return Reply(question, self.text(made.ids), made, len(prefix) + len(asked), spent, reused)

    def _generated(self, prefix_length: int, asked: Tokens, max_tokens: int, on_token: OnToken) -> Generation:
        """Raises `EngineError` for NaN: before anybody hears the first token, and behind the last, which tells all."""

        def checked(ids: Sequence[int]) -> bool:
            if len(ids) == 1:
                check_logits(self._language)
            return on_token(ids)

        made = generate(self._language, prefix_length, asked, self._eos_ids, max_tokens, checked)
        check_logits(self._language)
        return made

    def text(self, ids: Sequence[int]) -> str:
        """Generated tokens as text, also while more are to come. Thread-safe."""
        return self._prompts.text(ids)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Raises `UserError` while something else uses the cache: from another thread, or from within `on_token`."""
        if not self._busy.acquire(blocking=False):
            raise UserError("another question is being answered by this model; wait for it, or load the model again")
        try:
            yield
        finally:
            self._busy.release()

    def _asked(self, question: str, prefix: Tokens) -> Tokens:
        """Raises `PromptError` if it does not fit."""
        asked, context = self._prompts.question(question, prefix), self._language.context
        room = context - len(prefix)
        if len(asked) >= room:
            raise PromptError(
                f"the question takes {len(asked)} tokens ({_SHORT.repr(question)}), and next to the video's "
                f"{len(prefix)} the context of {context} leaves {room - 1}; shorten it, or build with a larger "
                "--max-context"
            )
        return asked


def fill(engine: LanguageEngine, visual_tokens: Any, prefix: Tokens) -> None:
    """Replaces whatever is in the cache by a window: its visual tokens and the prompt around them."""
    engine.rewind(0)
    engine.show(visual_tokens)
    engine.prefill(prefix)


def generate(
    engine: LanguageEngine,
    prefix_length: int,
    asked: Tokens,
    eos_ids: Collection[int],
    max_tokens: int,
    on_token: OnToken = go_on,
) -> Generation:
    """Appends `asked` to the first `prefix_length` slots of the cache and decodes at least one token.

    Stops at an end-of-text token, after `max_tokens` tokens, when the cache is full, or when `on_token` returns False.
    """
    stopwatch, position = Stopwatch(), asked.next_position
    with stopwatch.stage("prefill_question"):
        # Overwrites whatever an earlier question left after the window.
        engine.rewind(prefix_length)
        ids = [engine.forward(asked)]
    first_token_at = clock.now()
    with stopwatch.stage("decode"):
        while on_token(ids) and ids[-1] not in eos_ids and len(ids) < max_tokens and engine.length < engine.context:
            token = Tokens(np.array(ids[-1:], dtype=np.int64), np.array([position], dtype=np.int64), position + 1)
            position += 1
            ids.append(engine.forward(token))
    return Generation(ids, ids[-1] in eos_ids, stopwatch.milliseconds, first_token_at, clock.now())
