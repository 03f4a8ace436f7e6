"""How an answer by a schema can be closed: a walk through the tokens that are allowed, until it is whole."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLOSING = 2048
"""Tokens of the longest walk."""
_CLOSERS = ("}", "]", '"', ",", "0")
"""What ends a thing soonest, in the order in which it is tried."""
_LETTERS = [one for one in range(0x20, 0x7F) if one != ord("\\")]


class Closer:
    """Finds what closes answers in the tokens of one tokenizer. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        # A vocabulary that JSON can be written in has these as tokens of their own.
        self.closers: list[int] = [tokenizer.tokenize_str(one)[0] for one in _CLOSERS]
        self.quote = self.closers[_CLOSERS.index('"')]
        letters = [tokenizer.tokenize_bytes(bytes([one])) for one in _LETTERS]
        self.tried: list[int] = list(dict.fromkeys([*self.closers, *(one[0] for one in letters if len(one) == 1)]))
        """Where the first of the closers leads in circles."""
        self.escape: int = tokenizer.tokenize_str("\\")[0]

    def close(self, state: Any) -> list[int] | None:
        """Tokens that make `state`, a matcher, whole; it goes on by them. None if none are found: they need not be the
        fewest, and those of a schema that needs more than `MOST_CLOSING` are not found.
        """
        tokens: list[int] = []
        walk = _Walk(self)
        while not (state.is_stopped() or state.is_accepting()):
            following = state.compute_ff_tokens() or walk.step(state)
            if not following or len(tokens) > MOST_CLOSING or not state.consume_tokens(following):
                return None
            tokens += following
        return None if state.is_error() else tokens


class _Walk:
    """Where a search for an answer's end has been. What is allowed stands for a place, since a matcher has no name."""

    def __init__(self, closer: Closer) -> None:
        self._closer = closer
        self._seen: Counter[bytes] = Counter()
        self._ways: dict[bytes, dict[int, bytes]] = {}
        """For each place, what is allowed after each token, as last computed."""

    def step(self, state: Any) -> list[int]:
        """The next token: the first closer, or at a place that comes again (more digits, say), a way out of circles."""
        place: bytes = state.compute_bitmask()
        self._seen[place] += 1
        allowed, times = bits(place), self._seen[place]
        if times > 1 and (out := self._way_out(state, place, allowed, times)) is not None:
            return [out]
        closers = [token for token in self._closer.closers if allowed[token]]
        # Within a string both brackets are allowed, as letters, and only the quote ends it.
        if closers[:2] == self._closer.closers[:2]:
            closers.sort(key=lambda token: token != self._closer.quote)
        return closers[:1] or np.flatnonzero(allowed)[:1].tolist()

    def _way_out(self, state: Any, place: bytes, allowed: NDArray[np.uint8], times: int) -> int | None:
        """The token that leads to the end, to a new place or to the least known one. None if all stay here."""
        # A text that has to be long repeats as well, and looking costs.
        if times & (times - 1) == 0:
            ways = self._ways[place] = {}
            for token in [*self._closer.tried, self._closer.escape]:
                behind = state.deep_copy()
                if not allowed[token] or not behind.consume_token(token):
                    continue
                if behind.is_accepting() or (there := behind.compute_bitmask()) not in self._seen:
                    return token
                ways[token] = there
            # An escaped letter is one letter more, and takes two tokens.
            ways.pop(self._closer.escape, None)
        ways = self._ways.get(place, {})
        least: int | None = min(ways, key=lambda token: self._seen[ways[token]], default=None)
        return least if least is not None and self._seen[ways[least]] < times else None


def bits(mask: bytes) -> NDArray[np.uint8]:
    """One a token of the tokenizer, and some more."""
    return np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
