"""Greedy decoding on one language engine, in token ids. It knows neither text nor video."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from stts_runtime import clock
from stts_runtime.engines.interfaces import LanguageEngine
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


def go_on(_: Sequence[int]) -> bool:
    """An `OnToken` that never stops."""
    return True


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
