"""What callers from Python pass, checked: every mistake is a `UserError` that says what was got and what is allowed."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stts_runtime.answering import Turn
from stts_runtime.errors import PromptError, SourceError, UserError
from stts_runtime.mistakes import mistakes
from stts_runtime.stream.config import StreamConfig

STREAM_SETTINGS = (
    *("choices", "schema", "alert", "when", "shortest_pause", "longest_pause", "key_every", "transport", "nvdec"),
)
"""Those of a camera file that a caller from Python may give; sinks, metrics and previews are the caller's own."""


def as_path(what: str, given: object) -> str:
    """Text or an `os.PathLike`."""
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        if isinstance(path, str):
            return path
    raise SourceError(f"{what} should be a path, got {_kind(given)}")


def as_count(name: str, given: object) -> int:
    """A whole number of at least 1, of Python or numpy."""
    try:
        number = 0 if isinstance(given, bool) else operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1:
        raise UserError(f"{name} should be a whole number of at least 1, got {given!r}")
    return number


def as_keep(given: object, there: Sequence[float]) -> float | None:
    """A keep ratio; `there` are those of the bundle, for the message."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given):
        keeps = ", ".join(f"{keep:g}" for keep in there)
        raise UserError(f"keep should be a number above 0 and at most 1, got {given!r}; this bundle has {keeps}")
    return float(given)


def as_questions(given: object) -> list[str]:
    """One question, or a sequence of them."""
    questions = [given] if isinstance(given, str) else given
    if not isinstance(questions, Sequence) or isinstance(questions, bytes):
        raise PromptError(f"a question should be text, or a list of texts, got {_kind(given)}")
    if not questions:
        raise PromptError("there is no question: the list is empty")
    for question in questions:
        if not isinstance(question, str):
            raise PromptError(f"a question should be text, got {_kind(question)}")
    return list(questions)


def as_history(given: object) -> list[Turn]:
    """Pairs of a question and its answer."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise PromptError(f"history should be a list of questions with their answers, got {_kind(given)}")
    for turn in given:
        if not (isinstance(turn, list | tuple) and len(turn) == len(Turn._fields)):
            raise PromptError(f"a turn of history should be a question and its answer, got {turn!r}")
        if not all(isinstance(text, str) for text in turn):
            raise PromptError(f"a turn of history should be two texts, got {turn!r}")
    return [Turn(*turn) for turn in given]


def check_callable(name: str, given: object) -> None:
    """None is fine."""
    if given is not None and not callable(given):
        raise UserError(f"{name} should be a function, got {_kind(given)}")


def stream_config(
    bundle: Path, source: object, arguments: Mapping[str, Any], settings: Mapping[str, Any]
) -> StreamConfig:
    """The configuration that a camera file would give; `source` is one, or several by name.

    `arguments` are set in any case, `settings` are what else the caller wants of `STREAM_SETTINGS`.
    """
    sources = source if isinstance(source, Mapping) else {"stream-1": source}
    streams = [{"name": name, "source": _camera(one)} for name, one in sources.items()]
    if unknown := settings.keys() - set(STREAM_SETTINGS):
        raise UserError(f"there is no setting {min(unknown)!r} for a stream; there are {', '.join(STREAM_SETTINGS)}")
    given = {"bundle": bundle, "streams": streams, **arguments, **settings}
    try:
        return StreamConfig.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise UserError(mistakes(error, given)) from None


def _camera(given: object) -> str:
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return as_path("a source of a stream", given)


def _kind(given: object) -> str:
    return type(given).__name__
