"""Questions whose answers take no engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stts_runtime.answering import AnswerPool, Calls, Conversation, OnToken
from stts_runtime.engines import LanguageSlots
from stts_runtime.serve.engine_queue import Work


def plainly(work: Callable[[OnToken], Any]) -> Work[Any]:
    """What is done at once when it begins."""

    def course(_: Conversation, on_token: OnToken) -> Calls[Any]:
        return work(on_token)
        yield  # It asks nothing of an engine.

    return Work(course)


def at_once() -> AnswerPool:
    """A place for one of them."""
    nobody: Any = None
    return AnswerPool([nobody], LanguageSlots([nobody]))
