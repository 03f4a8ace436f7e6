"""Turns of a conversation as calls of the language model: which ones, and which of them its cache still holds.

Every conversation is prefilled by the calls that it would have taken turn by turn, whether its turns come one at a time
or all at once. So an answer is the same to the bit, whatever the cache held before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stts_runtime.prompt import IntArray, Tokens


@dataclass(frozen=True, eq=False)
class Call:
    """Tokens that are appended after the first `start` slots after the window."""

    start: int
    tokens: Tokens

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Call)
            and self.start == other.start
            and np.array_equal(self.tokens.ids, other.tokens.ids)
            and np.array_equal(self.tokens.positions, other.tokens.positions)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    @property
    def end(self) -> int:
        """Slots after the window that are filled after it."""
        return self.start + len(self.tokens)


def calls_of(turns: Iterable[Tokens]) -> list[Call]:
    """One for each turn, which are given as `PromptBuilder.turns` does: what it has in common with the one before is
    not computed again. Answers are: they were decoded token by token, and their text may have other tokens.
    """
    calls: list[Call] = []
    before: IntArray | None = None
    for turn in turns:
        start = 0 if before is None else _alike(before, turn.ids)
        calls.append(Call(start, turn.behind(start)))
        before = turn.ids
    return calls


def reusable(held: Sequence[Call], wanted: Sequence[Call]) -> int:
    """How many of the first calls of `wanted` need not be made after those of `held`; the last always is."""
    count = 0
    while count < min(len(held), len(wanted) - 1) and held[count] == wanted[count]:
        count += 1
    # What was made after the common ones may have overwritten their ends.
    while count and wanted[count].start > min((one.start for one in held[count:]), default=wanted[count].start):
        count -= 1
    return count


def _alike(one: IntArray, other: IntArray) -> int:
    """How many of the first tokens are the same."""
    shorter = min(len(one), len(other))
    differing = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(differing[0]) if len(differing) else shorter
