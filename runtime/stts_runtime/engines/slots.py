"""Several answers on one language model: a cache each, and a step that gives each of them its next token together.

A slot is a `LanguageEngine` of its own; all of them share weights and graphs. Prefixes and questions are run slot by
slot. What a backend adds is a `RowStep` for every number of rows that it has a graph for; this module says which rows
run, and knows neither graphs nor devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stts_runtime.engines.interfaces import LanguageEngine, check_room
from stts_runtime.prompt import Tokens


@dataclass(frozen=True)
class Rows:
    """One token of each of the first B slots; int64 (B,)."""

    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    slots: NDArray[np.int64]
    """Where in its cache each token goes."""


class RowStep(Protocol):
    """Appends one token to the caches of the first `size` slots at once."""

    @property
    def size(self) -> int: ...

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        """The greedy choice of the next token in each of them; the lengths of the slots stay as they are."""
        ...

    def logits(self, row: int) -> NDArray[np.float32]:
        """What the last run gave for the token after it, (vocabulary,)."""
        ...


class SlotEngine(LanguageEngine, Protocol):
    """A language engine over one row of caches that others share."""

    def stepped(self, logits: Callable[[], NDArray[np.float32]]) -> None:
        """One more slot of its cache was filled by a step of several; `logits` gives what came of it."""
        ...


class LanguageSlots:
    """Slots by number, from 0 on, and the steps over several of them."""

    def __init__(self, engines: Sequence[Any], steps: Sequence[RowStep] = ()) -> None:
        """`engines` are `SlotEngine`s where there are steps; one alone may be any language engine."""
        self.engines: Sequence[Any] = engines
        self._steps = sorted((step for step in steps if step.size <= len(engines)), key=lambda step: step.size)

    @property
    def sizes(self) -> list[int]:
        """How many tokens can be had at once."""
        return [1, *(step.size for step in self._steps)]

    def settle(self, runs: int) -> None:
        """Runs every step so many times on empty caches: first runs take memory, which nobody's answer waits for."""
        for _ in range(runs):
            for step in self._steps:
                step(Rows(*(np.zeros(step.size, dtype=np.int64) for _ in range(3))))
            for engine in self.engines:
                engine.forward(Tokens(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 1))
                engine.rewind(0)

    def forward(self, tokens: Mapping[int, Tokens]) -> dict[int, int]:
        """One call for each of these slots, by number: its tokens -> the greedy choice of the next one.

        Single tokens go together; more for one slot run by themselves. Raises `EngineError` as `LanguageEngine.forward`
        does.
        """
        singles = {slot: one for slot, one in tokens.items() if len(one) == 1}
        chosen = {slot: self.engines[slot].forward(one) for slot, one in tokens.items() if slot not in singles}
        step = self._step_for(singles)
        if step is None:
            return chosen | {slot: self.engines[slot].forward(one) for slot, one in singles.items()}
        return chosen | self._together(step, singles)

    def _step_for(self, tokens: Mapping[int, Tokens]) -> RowStep | None:
        """The smallest over all of these slots. None for one slot alone, and where a slot in between is full: a token
        that nobody wants would have no place there.
        """
        if len(tokens) < 2:
            return None
        step = next((step for step in self._steps if step.size > max(tokens)), None)
        if step is None or any(self._is_full(slot) for slot in range(step.size) if slot not in tokens):
            return None
        return step

    def _is_full(self, slot: int) -> bool:
        engine = self.engines[slot]
        return bool(engine.length >= engine.context)

    def _together(self, step: RowStep, tokens: Mapping[int, Tokens]) -> dict[int, int]:
        for slot, one in tokens.items():
            check_room(self.engines[slot], one)
        lengths = np.array([engine.length for engine in self.engines[: step.size]], dtype=np.int64)
        # A slot in between gets a token that it does not see, behind its last one, where its next will lie.
        ids, positions = np.zeros(step.size, dtype=np.int64), lengths.copy()
        for slot, one in tokens.items():
            ids[slot], positions[slot] = one.ids[0], one.positions[0]
        chosen = step(Rows(ids, positions, lengths))
        for slot in tokens:
            self.engines[slot].stepped(lambda slot=slot: step.logits(slot))
        return {slot: int(chosen[slot]) for slot in tokens}
