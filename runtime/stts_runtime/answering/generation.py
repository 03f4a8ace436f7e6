"""One answer from a language engine whose cache holds a window: generated token by token, or the likeliest choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from stts_runtime import clock
from stts_runtime.answering.calls import Calls, alone
from stts_runtime.answering.choices import ScoredChoices, score_choices
from stts_runtime.answering.form import FREE
from stts_runtime.answering.picking import Picker
from stts_runtime.engines import LanguageEngine
from stts_runtime.errors import UserError
from stts_runtime.prompt import Tokens


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
    """Tokens of the answer, the end-of-text token included if it came."""
    ended: bool
    """Whether nothing was cut off."""
    milliseconds: dict[str, float]
    """`prefill_question` and `decode`."""
    first_token_at: float
    """On the clock of `clock.now`, like the next."""
    last_token_at: float


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
    """As `generating`, by itself."""
    return alone(engine, generating(engine, prefix_length, asked, eos_ids, max_tokens, on_token))


def generating(
    engine: LanguageEngine,
    prefix_length: int,
    asked: Tokens,
    eos_ids: Collection[int],
    max_tokens: int,
    on_token: OnToken = go_on,
    picker: Picker | None = None,
) -> Calls[Generation]:
    """Appends `asked` to the first `prefix_length` slots of the cache and decodes at least one token.

    Stops at an end-of-text token, after `max_tokens` tokens, when the cache is full, when `picker` has all that it
    wants, or when `on_token` returns False.
    """
    picker = picker or Picker(FREE)
    most = min(max_tokens, engine.context - prefix_length - len(asked) + 1)
    stopwatch, position = Stopwatch(), asked.next_position
    with stopwatch.stage("prefill_question"):
        # Overwrites whatever an earlier question left after the window.
        engine.rewind(prefix_length)
        new = picker.take(engine, engine.forward(asked), most - 1)
    ids = list(new)
    first_token_at = clock.now()
    with stopwatch.stage("decode"):
        while on_token(ids) and not (ids[-1] in eos_ids or picker.done) and len(ids) < most:
            places = np.arange(position, position + len(new), dtype=np.int64)
            position += len(new)
            likeliest = yield Tokens(np.array(new, dtype=np.int64), places, position)
            new = picker.take(engine, likeliest, most - len(ids) - 1)
            ids += new
    ended = ids[-1] in eos_ids or picker.whole
    return Generation(ids, ended, stopwatch.milliseconds, first_token_at, clock.now())


def choosing(
    engine: LanguageEngine,
    prefix_length: int,
    asked: Tokens,
    eos_ids: Collection[int],
    choices: Mapping[str, Sequence[int]],
    on_token: OnToken = go_on,
) -> Calls[tuple[Generation, ScoredChoices]]:
    """Appends `asked` to the first `prefix_length` slots of the cache and takes the likeliest of the choices, which are
    given with their tokens. `on_token` hears nothing in between, but may end it.

    Raises `UserError` if it does.
    """
    stopwatch, tokens = Stopwatch(), list(choices.values())
    with stopwatch.stage("prefill_question"):
        engine.rewind(prefix_length)
        engine.forward(asked)
    first_token_at = clock.now()
    with stopwatch.stage("decode"):
        scored = yield from score_choices(engine, asked.next_position, tokens, eos_ids, lambda: on_token([]))
    if scored is None:
        raise UserError("the question was given up before all choices were weighed")
    result = ScoredChoices(tuple(choices), tuple(scored[0]), 1 + scored[1])
    ids = list(tokens[result.likeliest])
    on_token(ids)
    return Generation(ids, True, stopwatch.milliseconds, first_token_at, clock.now()), result
