"""Answers under way together: who joins, who leaves, and whose fault is whose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stts_runtime.answering import AnswerPool, Calls, Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.engines import LanguageSlots, load_slots
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens
from tests.support.stand_ins import LanguageOfChance

KEPT = np.ones((1, 4), np.bool_)
QUESTIONS = ["Who?", "What happens here?", "Where?", "Is anybody there at all?"]


def token(number: int) -> Tokens:
    return Tokens(np.array([number], np.int64), np.array([0], np.int64), 1)


def counting(name: str, calls: int, log: list[str]) -> Any:
    """A course of so many calls, with its name as the result."""

    def course(_: Conversation) -> Calls[str]:
        for number in range(calls):
            log.append(f"{name}{number}")
            yield token(number)
        return name

    return course


def pool_of(size: int) -> AnswerPool:
    engines = [LanguageOfChance(1000, 10) for _ in range(size)]
    conversations: list[Any] = [object() for _ in engines]
    return AnswerPool(conversations, LanguageSlots(engines))


def test_who_comes_joins_at_the_next_step_and_who_is_done_leaves() -> None:
    pool, log, done = pool_of(2), list[str](), list[str]()
    pool.begin(counting("a", 3, log), done.append)
    assert pool.step() == 1
    pool.begin(counting("b", 1, log), done.append)
    assert not pool.has_room
    assert pool.step() == 2
    assert done == ["b"]
    assert pool.has_room
    pool.finish()
    assert (done, log, pool.step()) == (["b", "a"], ["a0", "a1", "b0", "a2"], 0)


def test_what_fails_is_told_to_whose_it_is_and_the_others_go_on() -> None:
    pool, done, failed = pool_of(2), list[str](), list[Exception]()

    def broken(_: Conversation) -> Calls[str]:
        yield token(0)
        raise EngineError("no numbers")

    pool.begin(broken, done.append, failed.append)
    pool.begin(counting("a", 2, []), done.append)
    pool.finish()
    assert done == ["a"]
    assert [str(one) for one in failed] == ["no numbers"]
    pool.begin(broken, done.append)
    with pytest.raises(EngineError, match="no numbers"):
        pool.finish()


def test_an_engine_that_fails_ends_all_that_were_in_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, failed, cleaned = pool_of(2), list[Exception](), list[str]()

    def course(_: Conversation) -> Calls[str]:
        try:
            yield token(0)
        finally:
            cleaned.append("up")
        return "done"

    def fails(*_: object) -> None:
        raise EngineError("out of memory")

    for _ in range(2):
        pool.begin(course, lambda _: None, failed.append)
    monkeypatch.setattr(pool._slots, "forward", fails)
    assert pool.step() == 2
    assert (len(failed), cleaned, pool.busy) == (2, ["up", "up"], False)


def test_a_conversation_that_holds_something_already_is_taken_first() -> None:
    pool, taken = pool_of(3), list[Conversation]()

    def course(conversation: Conversation) -> Calls[None]:
        taken.append(conversation)
        yield token(0)

    wanted = pool.conversations[2]
    pool.begin(course, lambda _: None, prefers=lambda one: one is wanted)
    pool.begin(course, lambda _: None, prefers=lambda one: one is wanted)
    assert taken == [wanted, pool.conversations[0]], "and the first free one where it is busy"


@pytest.mark.onnxruntime
def test_four_answers_together_are_word_for_word_those_of_each_alone(micro_bundle: Bundle) -> None:
    def ask(pool: AnswerPool, together: bool) -> dict[str, str]:
        replies: dict[str, str] = {}
        for number, question in enumerate(QUESTIONS):
            visual = np.random.default_rng(number).normal(size=(4, 48)).astype(np.float32)

            def course(conversation: Conversation, question: str = question, visual: Any = visual) -> Calls[Any]:
                prefix = conversation.watch(visual, [0.0], KEPT)
                return (yield from conversation.asking(prefix, question, 12))

            pool.begin(course, lambda reply: replies.update({reply.question: reply.text}))
            if not together:
                pool.finish()
        pool.finish()
        return replies

    alone = ask(AnswerPool.over(micro_bundle, load_slots(micro_bundle, 1)), together=False)
    pool = AnswerPool.over(micro_bundle, load_slots(micro_bundle, 4))
    assert pool.size == 4
    assert ask(pool, together=True) == alone
    assert len(set(alone.values())) > 1
