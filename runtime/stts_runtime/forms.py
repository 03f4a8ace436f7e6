"""From what a caller or a command line says of an answer's form to an `AnswerForm`: every mistake says where it is."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, TypedDict

from stts_runtime.answering.form import FREE, AnswerForm, Sampling, checked_choices
from stts_runtime.answering.schema import Schema, Schemas
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.handed_over import small_text

_MOST_BYTES = 1_000_000


class FormArguments(TypedDict, total=False):
    """What an answer should be like; see `AnswerForm` and `Sampling`."""

    choices: str | Sequence[str]
    """Texts, or one with commas between them."""
    schema: Mapping[str, Any] | str | os.PathLike[str]
    """A JSON schema, or the path of a file with one."""
    top_logprobs: int
    temperature: float
    top_p: float
    seed: int


class Forms:
    """Makes forms for one bundle. Thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def of(self, arguments: Mapping[str, Any]) -> AnswerForm:
        """`arguments` are some of `FormArguments`; None stands for one that is not there. Raises `UserError`."""
        if unknown := arguments.keys() - FormArguments.__annotations__.keys():
            there = ", ".join(FormArguments.__annotations__)
            raise UserError(f"there is no setting {min(unknown)!r} for an answer; there are {there}")
        given = {name: value for name, value in arguments.items() if value is not None}
        if not given:
            return FREE
        sampling = Sampling(**{name: read(name, given[name]) for name, read in _SAMPLING.items() if name in given})
        return AnswerForm(
            sampling=sampling,
            choices=checked_choices(given["choices"]) if "choices" in given else (),
            schema=self.schema(given["schema"]) if "schema" in given else None,
            top_logprobs=_whole("top_logprobs", given["top_logprobs"]) if "top_logprobs" in given else None,
        )

    def schema(self, given: object, place: str = "schema") -> Schema:
        """`given` is a schema, or the path of a file with one."""
        if isinstance(given, str | os.PathLike):
            path = Path(given)
            place, given = f"{path}: schema", read_schema(path)
        return self.schemas.compile(dict(given) if isinstance(given, Mapping) else given, place)

    @cached_property
    def schemas(self) -> Schemas:
        """Raises `MissingExtraError` without llguidance."""
        return Schemas.of(self._bundle)


def read_schema(path: Path) -> object:
    """What a file of JSON holds. Raises `UserError` with the line at which it is none."""
    try:
        content: object = json.loads(small_text(path, _MOST_BYTES, "a JSON schema", "a JSON schema"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply for a JSON schema") from None
    return content


def _number(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise UserError(f"{name} should be a number, got {given!r}")
    try:
        return float(given)
    except OverflowError:
        return math.inf


def _whole(name: str, given: object) -> int:
    try:
        if isinstance(given, bool):
            raise TypeError
        return operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"{name} should be a whole number, got {given!r}") from None


_SAMPLING: Mapping[str, Callable[[str, object], Any]] = {"temperature": _number, "top_p": _number, "seed": _whole}
