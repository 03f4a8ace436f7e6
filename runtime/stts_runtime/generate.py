"""Greedy decoding: one token after the other until the end of the text or of the budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from stts_runtime.engines.seam import LanguageEngine
from stts_runtime.prompt import Tokens

Follow = Callable[[Sequence[int]], bool]
"""Is given the tokens so far after each one; whether to go on."""


class Generated(NamedTuple):
    ids: list[int]
    """Tokens of the answer, the closing one included."""
    ended: bool
    """Whether the model closed its text."""


def go_on(_: Sequence[int]) -> bool:
    """Follows nothing."""
    return True


def generate(
    engine: LanguageEngine,
    first: int,
    next_position: int,
    eos_ids: Collection[int],
    max_tokens: int,
    follow: Follow = go_on,
) -> Generated:
    """Continues after a prefill whose choice was `first`; `next_position` is the rotary position of that token.

    Stops at an end-of-text token, after `max_tokens` tokens, when the cache is full, or when `follow` has enough.
    """
    ids = [first]
    while follow(ids) and ids[-1] not in eos_ids and len(ids) < max_tokens and engine.length < engine.context:
        token = np.array([ids[-1]], dtype=np.int64)
        position = np.array([next_position], dtype=np.int64)
        next_position += 1
        ids.append(engine.forward(Tokens(token, position, next_position)))
    return Generated(ids, ids[-1] in eos_ids)
