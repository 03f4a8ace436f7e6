"""Answers under way, each on a slot of one language model: a step gives every one of them its next token.

Prefixes and questions are run when an answer begins, one at a time; a new answer joins at the next step, and a
finished one leaves. No answer waits for others: what is under way is batched. It knows neither streams nor requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from stts_runtime.answering.calls import Calls
from stts_runtime.answering.conversation import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName, LanguageSlots, load_slots
from stts_runtime.prompt import Tokens

Result = TypeVar("Result")
Course = Callable[[Conversation], Calls[Result]]
"""An answer, given the conversation that it has for itself until it is over."""


def _no_preference(_: Conversation) -> bool:
    return False


@dataclass(eq=False)
class _UnderWay:
    calls: Calls[Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None] | None
    tokens: Tokens | None = None
    """Tokens of the next call."""


class AnswerPool:
    """Used from one thread."""

    def __init__(self, conversations: Sequence[Conversation], slots: LanguageSlots) -> None:
        """`conversations` are over the engines of the slots, in their order."""
        self.conversations, self._slots = conversations, slots
        self._under_way: dict[int, _UnderWay] = {}

    @classmethod
    def open(cls, bundle: Bundle, most: int = 1, engine: EngineName = "cpu") -> AnswerPool:
        """Loads the bundle's language model for up to `most` answers at once, as far as it has graphs for that."""
        return cls.over(bundle, load_slots(bundle, most, engine))

    @classmethod
    def over(cls, bundle: Bundle, slots: LanguageSlots) -> AnswerPool:
        """With the prompts of a bundle."""
        return cls([Conversation.over(bundle, engine) for engine in slots.engines], slots)

    @property
    def size(self) -> int:
        """How many answers can be under way."""
        return len(self.conversations)

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    @property
    def has_room(self) -> bool:
        return len(self._under_way) < self.size

    def begin(
        self,
        course: Course[Result],
        done: Callable[[Result], None],
        failed: Callable[[Exception], None] | None = None,
        prefers: Callable[[Conversation], bool] = _no_preference,
    ) -> None:
        """Runs it up to its first token; there must be room. `done` hears of its result, and `failed` of what it
        raises, which is raised here or by the step if it is None. A free conversation that it `prefers` is taken first.
        """
        free = [slot for slot in range(self.size) if slot not in self._under_way]
        slot = next((slot for slot in free if prefers(self.conversations[slot])), free[0])
        calls = course(self.conversations[slot])
        self._under_way[slot] = _UnderWay(calls, done, failed)
        self._resume(slot, lambda: next(calls))

    def step(self) -> int:
        """One call for every answer that is under way; how many there were."""
        waiting = {slot: one.tokens for slot, one in self._under_way.items() if one.tokens is not None}
        if not waiting:
            return 0
        try:
            chosen: Mapping[int, int] = self._slots.forward(waiting)
        except Exception as error:  # noqa: BLE001  # each of them hears of it
            self._fail(list(waiting), error)
            return len(waiting)
        for slot in sorted(waiting):
            calls, token = self._under_way[slot].calls, chosen[slot]
            self._resume(slot, lambda calls=calls, token=token: calls.send(token))  # type: ignore[misc]
        return len(waiting)

    def finish(self) -> None:
        """Steps until nothing is under way."""
        while self.step():
            pass

    def _fail(self, slots: Sequence[int], error: Exception) -> None:
        for slot in slots:
            calls = self._under_way[slot].calls
            self._resume(slot, lambda calls=calls: calls.throw(error))  # type: ignore[misc]

    def _resume(self, slot: int, resume: Callable[[], Tokens]) -> None:
        one = self._under_way[slot]
        try:
            one.tokens = resume()
        except StopIteration as end:
            del self._under_way[slot]
            one.done(end.value)
        except Exception as error:
            del self._under_way[slot]
            if one.failed is None:
                raise
            one.failed(error)
