"""An answer as a course of calls to a language engine, so that others can have theirs in between, or at the same time.

It yields the tokens of its next call and is sent the engine's greedy choice after them; prefixes and questions, which
are run by themselves, it runs itself. What it reads of the engine, such as logits, it reads before it yields again.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from stts_runtime.engines import LanguageEngine
from stts_runtime.prompt import Tokens

Result = TypeVar("Result")
Calls = Generator[Tokens, int, Result]


def alone(engine: LanguageEngine, calls: Calls[Result]) -> Result:
    """Runs it to its end with nothing in between."""
    try:
        tokens = next(calls)
        while True:
            tokens = calls.send(engine.forward(tokens))
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        # What failed in the engine leaves a course that is not over.
        calls.close()
