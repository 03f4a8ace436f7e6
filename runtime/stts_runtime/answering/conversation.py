"""Questions and answers about windows: clips, streams and pictures are all answered here, by greedy decoding
unless another form is asked for.

It knows neither where a window comes from nor what becomes of the answer; adapters do (`session.py` for clips,
`stream/watcher.py` for streams, `serve/engine_worker.py` for pictures).
"""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering.choices import ScoredChoices, check_choices
from stts_runtime.answering.form import FREE, AnswerForm, TokenLogprob
from stts_runtime.answering.generation import Generation, OnToken, Stopwatch, choose, fill, generate, go_on
from stts_runtime.answering.picking import Picker
from stts_runtime.answering.schema import SchemaState
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, LanguageEngine, load_language
from stts_runtime.engines.finite import check_logits
from stts_runtime.engines.interfaces import Noted
from stts_runtime.errors import PromptError, UserError
from stts_runtime.prompt import PromptBuilder, Tokens

Finish = Literal["end", "length"]
"""`end`: the model ended its text; `length`: the token budget or the context was used up."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = 60


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
    choices: ScoredChoices | None = None
    logprobs: Sequence[TokenLogprob] | None = None
    """Of the tokens of `generation` but its end, if they were asked for."""
    schema: SchemaState | None = None
    """That the answer was kept to, as it is at its end."""

    @property
    def finish(self) -> Finish:
        return "end" if self.generation.ended else "length"


def check_askable(prompts: PromptBuilder, questions: Sequence[str], form: AnswerForm, max_tokens: int) -> None:
    """Raises `PromptError` if a question cannot be asked about anything, or not be answered in this form."""
    check_choices({choice: prompts.answer(choice) for choice in form.choices})
    if form.schema is not None and (fewest := form.schema.fewest_tokens) > max_tokens:
        raise PromptError(
            f"an answer by the schema needs max_tokens of at least {fewest}, and it is {max_tokens}; raise it"
        )
    for question in questions:
        prompts.check_question(question)


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

    @property
    def note(self) -> str | None:
        """What a user should know of how the language model runs; None if there is nothing."""
        return self._language.note if isinstance(self._language, Noted) else None

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

    def check(
        self,
        questions: Sequence[str],
        prefix: Tokens | None = None,
        form: AnswerForm = FREE,
        max_tokens: int = 64,
    ) -> None:
        """Raises `PromptError` as `check_askable` does; with a prefix, also if a question, or what its answer takes in
        any case, does not fit next to it. Thread-safe.
        """
        check_askable(self._prompts, questions, form, max_tokens)
        if prefix is not None:
            for question in questions:
                self._asked(question, prefix, form)

    def ask(
        self,
        prefix: Prefix,
        question: str,
        max_tokens: int = 64,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
    ) -> Reply:
        """Answers a question about the window that was watched last. Raises `EngineError` for NaN."""
        if max_tokens < 1:
            raise UserError(f"an answer needs at least 1 token, got {max_tokens}")
        if prefix.window_id != self._window_id:
            raise UserError("this window is no longer in the cache; watch it again before asking about it")
        stopwatch, reused = Stopwatch(), prefix.questions > 0
        with stopwatch.stage("tokenize"):
            self.check([], form=form, max_tokens=max_tokens)
            asked = self._asked(question, prefix.tokens, form)
            choices = {choice: self._prompts.answer(choice) for choice in form.choices}
        with self._alone():
            if choices:
                made, scored = choose(self._language, len(prefix), asked, self._eos_ids, choices, on_token)
                text, picker = form.choices[scored.likeliest], Picker(FREE)
            else:
                picker, scored = Picker(form, self._prompts.token_bytes), None
                heard = self._checked(on_token)
                made = generate(self._language, len(prefix), asked, self._eos_ids, max_tokens, heard, picker)
                check_logits(self._language)
                text = self.text(made.ids)
        prefix.questions += 1
        spent = {"prefill_video": 0.0 if reused else prefix.milliseconds, **made.milliseconds}
        spent["prefill_question"] += stopwatch.milliseconds["tokenize"]
        logprobs = picker.logprobs and [one for one in picker.logprobs if one.token not in self._eos_ids]
        prompt_tokens = len(prefix) + len(asked)
        return Reply(question, text, made, prompt_tokens, spent, reused, scored, logprobs, picker.schema)

    def _checked(self, on_token: OnToken) -> OnToken:
        """Raises `EngineError` for NaN before anybody hears the first token; behind the last, logits tell of all."""
        heard = False

        def checked(ids: Sequence[int]) -> bool:
            nonlocal heard
            if ids and not heard:
                heard = True
                check_logits(self._language)
            return on_token(ids)

        return checked

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

    def _asked(self, question: str, prefix: Tokens, form: AnswerForm) -> Tokens:
        """Raises `PromptError` if it does not fit, or its answer in this form may not."""
        asked, context = self._prompts.question(question, prefix), self._language.context
        room = context - len(prefix)
        if len(asked) >= room:
            raise PromptError(
                f"the question takes {len(asked)} tokens ({_SHORT.repr(question)}), and next to the video's "
                f"{len(prefix)} the context of {context} leaves {room - 1}; shorten it, or build with a larger "
                "--max-context"
            )
        longest, what = self._longest(form)
        # The last token of an answer takes no slot of the cache.
        if longest > room - len(asked) + 1:
            raise PromptError(
                f"{what} needs {longest} tokens, and next to the video's {len(prefix)} and the question's {len(asked)} "
                f"the context of {context} leaves {room - len(asked) + 1}; shorten it, or build with a larger "
                "--max-context"
            )
        return asked

    def _longest(self, form: AnswerForm) -> tuple[int, str]:
        """Tokens that an answer takes in any case, and what takes them."""
        if form.schema is not None:
            return form.schema.fewest_tokens, "an answer by the schema"
        lengths = [(len(self._prompts.answer(one)), f"choices[{at}]") for at, one in enumerate(form.choices)]
        return max(lengths, key=lambda one: one[0], default=(1, "an answer"))
