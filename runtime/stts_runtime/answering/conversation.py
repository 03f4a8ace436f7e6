"""Questions and answers about windows: clips, streams and pictures are all answered here, by greedy decoding
unless another form is asked for.

It knows neither where a window comes from nor what becomes of the answer; adapters do (`session.py` for clips,
`stream/watcher.py` for streams, `serve/engine_worker.py` for pictures).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.answering.calls import Calls, alone
from stts_runtime.answering.choices import check_choices
from stts_runtime.answering.form import FREE, AnswerForm
from stts_runtime.answering.generation import OnToken, Stopwatch, choosing, fill, generating, go_on
from stts_runtime.answering.picking import Picker
from stts_runtime.answering.reply import Reply
from stts_runtime.answering.room import Room
from stts_runtime.answering.turns import Call, calls_of, reusable
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, LanguageEngine, load_language
from stts_runtime.engines.finite import check_logits
from stts_runtime.engines.interfaces import Noted
from stts_runtime.errors import ContextError, PromptError, UserError
from stts_runtime.prompt import PromptBuilder, Tokens, Turn


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


def check_askable(
    prompts: PromptBuilder,
    questions: Sequence[str],
    form: AnswerForm,
    max_tokens: int,
    history: Sequence[Turn] = (),
) -> None:
    """Raises `PromptError` if a question cannot be asked about anything, or not be answered in this form."""
    check_choices({choice: prompts.answer(choice) for choice in form.choices})
    if form.schema is not None and (fewest := form.schema.fewest_tokens) > max_tokens:
        raise PromptError(
            f"an answer by the schema needs max_tokens of at least {fewest}, and it is {max_tokens}; raise it"
        )
    prompts.check_history(history)
    for question in questions:
        prompts.check_question(question)


class Conversation:
    """One language engine and what its cache holds: a window, then the turns of one conversation about it.

    All parts that use an engine share its conversation, which is how a stale window is noticed. Not thread-safe, except
    where a method says so.
    """

    def __init__(self, language: LanguageEngine, prompts: PromptBuilder, eos_ids: Collection[int]) -> None:
        self._language, self._prompts, self._eos_ids = language, prompts, eos_ids
        self._window_id = 0
        self._held: Sequence[Call] = ()
        """What was asked after the window."""
        self._busy = threading.Lock()

    @classmethod
    def over(cls, bundle: Bundle, language: LanguageEngine) -> Conversation:
        """With the prompts of a bundle. Raises `BundleError` if its tokenizer does not fit its manifest."""
        return cls(language, PromptBuilder.of(bundle), bundle.manifest.prompt.eos_ids)

    @classmethod
    def open(cls, bundle: Bundle, engine: EngineName = "cpu") -> Conversation:
        """Checks and loads the bundle's language model."""
        return cls.over(bundle, load_language(bundle, engine))

    @classmethod
    def unloaded(cls, bundle: Bundle) -> Conversation:
        """One without an engine: it checks questions and answers none."""
        engine: Any = SimpleNamespace(context=bundle.manifest.language.context)
        return cls.over(bundle, engine)

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
            self._held = ()
            fill(self._language, visual_tokens, tokens)
        return Prefix(self._window_id, tokens, stopwatch.milliseconds["prefill_video"])

    def holds(self, prefix: Prefix) -> bool:
        """Whether it can be asked about: nothing was watched since."""
        return prefix.window_id == self._window_id

    def prefix_of(self, times_seconds: Sequence[float], kept: NDArray[np.bool_]) -> Tokens:
        """The prompt of a window, without prefilling it. Raises `PromptError` as `watch` does. Thread-safe."""
        tokens, context = self._prompts.video(times_seconds, kept), self._language.context
        if len(tokens) >= context:
            raise ContextError(
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
        history: Sequence[Turn] = (),
    ) -> None:
        """Raises `PromptError` as `check_askable` does; with a prefix, also if a question, or what its answer takes in
        any case, does not fit next to it. Thread-safe.
        """
        check_askable(self._prompts, questions, form, max_tokens, history)
        if prefix is not None:
            for question in questions:
                self._calls(history, question, prefix, form)

    def ask(
        self,
        prefix: Prefix,
        question: str,
        max_tokens: int = 64,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
        history: Sequence[Turn] = (),
    ) -> Reply:
        """Answers a question about the window that was watched last, after the turns of `history`. Those that the
        cache holds are not prefilled again. Raises `EngineError` for NaN.
        """
        return alone(self._language, self.asking(prefix, question, max_tokens, on_token, form, history))

    def asking(
        self,
        prefix: Prefix,
        question: str,
        max_tokens: int = 64,
        on_token: OnToken = go_on,
        form: AnswerForm = FREE,
        history: Sequence[Turn] = (),
    ) -> Calls[Reply]:
        """As `ask`, call by call: until it is over, nothing else may use this conversation."""
        if max_tokens < 1:
            raise UserError(f"an answer needs at least 1 token, got {max_tokens}")
        if not self.holds(prefix):
            raise UserError("this window is no longer in the cache; watch it again before asking about it")
        stopwatch, reused = Stopwatch(), prefix.questions > 0
        with stopwatch.stage("tokenize"):
            self.check([], form=form, max_tokens=max_tokens, history=history)
            calls = self._calls(history, question, prefix.tokens, form)
            choices = {choice: self._prompts.answer(choice) for choice in form.choices}
        with self._alone(), self._behind(calls) as held:
            with stopwatch.stage("prefill_question"):
                for call in calls[held:-1]:
                    self._language.rewind(len(prefix) + call.start)
                    self._language.forward(call.tokens)
            asked, length = calls[-1].tokens, len(prefix) + calls[-1].start
            if choices:
                made, scored = yield from choosing(self._language, length, asked, self._eos_ids, choices, on_token)
                text, picker = form.choices[scored.likeliest], Picker(FREE)
            else:
                picker, scored = Picker(form, self._prompts.token_bytes), None
                heard = self._checked(on_token)
                made = yield from generating(self._language, length, asked, self._eos_ids, max_tokens, heard, picker)
                check_logits(self._language)
                text = self.text(made.ids)
        prefix.questions += 1
        spent = {"prefill_video": 0.0 if reused else prefix.milliseconds, **made.milliseconds}
        spent["prefill_question"] += sum(stopwatch.milliseconds.values())
        logprobs = picker.logprobs and [one for one in picker.logprobs if one.token not in self._eos_ids]
        cached = len(prefix) * reused + calls[held].start
        prompt_tokens = len(prefix) + calls[-1].end
        turns = len(history)
        return Reply(question, text, made, prompt_tokens, cached, spent, reused, scored, logprobs, picker.schema, turns)

    @contextmanager
    def _behind(self, calls: Sequence[Call]) -> Iterator[int]:
        """How many of the calls need not be made. What fails on the way leaves nothing to continue from."""
        held, self._held = self._held, ()
        yield reusable(held, calls)
        self._held = calls

    def _checked(self, on_token: OnToken) -> OnToken:
        """Raises `EngineError` for NaN before anybody hears the first token; after the last, logits tell of all."""
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

    def _calls(self, history: Sequence[Turn], question: str, prefix: Tokens, form: AnswerForm) -> list[Call]:
        """Raises `ContextError` if they do not fit next to the prefix, or the answer in this form may not."""
        calls = calls_of(self._prompts.turns(history, question, prefix))
        room = Room(self._language.context, len(prefix), calls[-1].end)
        room.check(question, len(history))
        room.check_answer(*self._longest(form))
        return calls

    def _longest(self, form: AnswerForm) -> tuple[int, str]:
        """Tokens that an answer takes in any case, and what takes them."""
        if form.schema is not None:
            return form.schema.fewest_tokens, "an answer by the schema"
        lengths = [(len(self._prompts.answer(one)), f"choices[{at}]") for at, one in enumerate(form.choices)]
        return max(lengths, key=lambda one: one[0], default=(1, "an answer"))
