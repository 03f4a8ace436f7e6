"""Answers that are JSON of a schema: which tokens may come next, and which must, so that every answer is whole.

llguidance keeps the state: it is written in Rust, needs no torch, and has wheels for aarch64 and Python 3.10. When the
tokens that are left only just suffice to close what is open, the answer is closed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.answering.closing import MOST_CLOSING, Closer, bits
from stts_runtime.bundle import Bundle
from stts_runtime.errors import EngineError, MissingExtraError, UserError

_MOST_CHARACTERS = 32_000
_MOST_LEVELS = 32
_LONGEST_MESSAGE = 300
_PLACE_SECONDS = 1.0
"""For finding where a schema is wrong."""
_ENDLESS = (
    f"no answer was found that ends within {MOST_CLOSING} tokens; ask for shorter texts and lists, or for simpler "
    "patterns"
)
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("prefixItems", "anyOf", "oneOf", "allOf")
_SINGLE = ("items", "additionalProperties")
_OPTIONS = {"whitespace_flexible": False}


@dataclass(frozen=True, eq=False)
class Schema:
    """One that can be enforced."""

    sha256: str
    """Hash of the schema's text."""
    fewest_tokens: int
    """Fewest tokens that an answer can have."""
    start: Callable[[], SchemaState]
    """An answer's beginning."""


class Schemas:
    """Compiles schemas for the tokenizer of one bundle. Thread-safe."""

    def __init__(self, tokenizer_json: str, eos_ids: Collection[int]) -> None:
        """Raises `MissingExtraError` without llguidance."""
        try:
            import llguidance
        except ModuleNotFoundError:
            raise MissingExtraError("answers by a schema need llguidance: pip install 'stts-export[schema]'") from None
        self._library: Any = llguidance
        self._tokenizer = llguidance.LLTokenizer(tokenizer_json, eos_token=list(eos_ids))
        self._closer = Closer(self._tokenizer)

    @classmethod
    def of(cls, bundle: Bundle) -> Schemas:
        prompt = bundle.manifest.prompt
        return cls(bundle.file(prompt.tokenizer).read_bytes().decode(), prompt.eos_ids)

    def compile(self, given: object, place: str = "schema") -> Schema:
        """`given` is a JSON schema as an object, not as text.

        Raises `UserError` with the place at which it is wrong, too large, or beyond what can be enforced.
        """
        if not isinstance(given, dict):
            raise UserError(f'{place} should be a JSON schema, an object such as {{"type": "object"}}')
        _check_depth(given, place)
        text = _text(given, place)
        if error := self._error(given, place):
            where, error = self._deepest(given, {}, place, error, clock.now() + _PLACE_SECONDS)
            raise UserError(f"{where}: {one_line(error)}")
        grammar = self._grammar(given, place)

        def start() -> SchemaState:
            matcher = self._library.LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
            return SchemaState(matcher, self._closer, self._tokenizer.eos_token)

        begun = start()
        if begun.fewest is None:
            raise UserError(f"{place}: {begun.trouble or _ENDLESS}")
        return Schema(hashlib.sha256(text.encode()).hexdigest(), begun.fewest, start)

    @property
    def _limits(self) -> Any:
        return self._library.LLParserLimits(verbose_errors=False)

    def _grammar(self, schema: dict[str, Any], place: str) -> str:
        try:
            grammar: str = self._library.LLMatcher.grammar_from_json_schema(schema, overrides=_OPTIONS)
        except ValueError as error:
            # A number with hundreds of digits, say, which Python's JSON writes all the same.
            raise UserError(f"{place} is not valid JSON: {one_line(str(error))}") from None
        return grammar

    def _error(self, schema: dict[str, Any], place: str) -> str:
        validate = self._library.LLMatcher.validate_grammar_with_warnings
        is_error, messages = validate(self._grammar(schema, place), self._tokenizer, limits=self._limits)
        return str(messages[0]) if is_error else ""

    def _deepest(
        self, schema: dict[str, Any], shared: dict[str, Any], place: str, error: str, until: float
    ) -> tuple[str, str]:
        """The innermost schema within `schema` that cannot be enforced by itself, as far as it is found `until` then;
        llguidance says not where.
        """
        shared = {**shared, **{name: schema[name] for name in ("$defs", "definitions") if name in schema}}
        for step, part in _parts(schema):
            if clock.now() > until:
                break
            if inner := self._error({**shared, **part}, place):
                return self._deepest(part, shared, f"{place}{step}", inner, until)
        return place, error


class SchemaState:
    """An answer that grows. Counts what keeping it costs."""

    def __init__(self, matcher: Any, closer: Closer, end_of_text: int) -> None:
        self._matcher, self._closer, self._end_of_text = matcher, closer, end_of_text
        self.trouble = ""
        """Why the library gave up while a way to close the answer was looked for."""
        self._end = self._closing()
        self.milliseconds = 0.0
        self.masked = 0
        """Tokens for which the likeliest was not allowed."""

    @property
    def done(self) -> bool:
        """Whether the answer is whole, and nothing more may follow."""
        return bool(self._matcher.is_stopped())

    @property
    def is_whole(self) -> bool:
        """Whether it could end here."""
        return bool(self._matcher.is_accepting())

    @property
    def fewest(self) -> int | None:
        """Tokens that it takes to make it whole, as far as is known."""
        return None if self._end is None else len(self._end)

    def allows(self, token: int) -> bool:
        begun = time.perf_counter()
        count: int = self._matcher.validate_tokens([token])
        self._count(begun)
        return count == 1

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """(vocabulary,): which tokens may come next."""
        begun = time.perf_counter()
        can_follow = bits(self._matcher.compute_bitmask())[:vocabulary]
        allowed = np.zeros(vocabulary, np.bool_)
        allowed[: len(can_follow)] = can_follow
        self.masked += 1
        self._count(begun)
        return allowed

    def take(self, token: int, room: int, *, go_on: bool) -> list[int]:
        """Goes on by `token`, or by one that closes the answer: if `room` more tokens would not suffice to do it after
        `token`, or it is unknown whether they would.

        Returns what was taken, with `go_on` also what has to follow. Raises `EngineError` if the library gives up.
        """
        begun = time.perf_counter()
        end = self._end_behind(token)
        if self._end is not None and (end is None or len(end) > room):
            token, *end = self._end or [self._end_of_text]
        taken = [token]
        if self._matcher.consume_token(token) and go_on:
            forced, end = self._forced(end, room)
            taken += forced
        self._end = end
        self._count(begun)
        if self._matcher.is_error():
            raise EngineError(f"llguidance gave up on the schema: {one_line(self._matcher.get_error())}")
        return taken

    def _forced(self, end: list[int] | None, room: int) -> tuple[list[int], list[int] | None]:
        """Goes on by what has to follow, unless the answer could not be closed after it; and what closes it then."""
        forced: list[int] = self._matcher.compute_ff_tokens()
        behind = end[len(forced) :] if end and end[: len(forced)] == forced else self._closing(*forced)
        if end is not None and (behind is None or len(forced) + len(behind) > room):
            return [], end
        return (forced, behind) if self._matcher.consume_tokens(forced) else ([], end)

    def _end_behind(self, token: int) -> list[int] | None:
        """The tokens that make it whole soon after `token`; None if none are known."""
        if self._end:
            if token == self._end[0]:
                return self._end[1:]
            # Most tokens are a letter more of a text, after which what closes it is the same.
            state = self._matcher.deep_copy()
            if state.consume_tokens([token, *self._end]) and state.is_accepting():
                return self._end
        return self._closing(token)

    def _closing(self, *first: int) -> list[int] | None:
        """Tokens that make it whole after `first`; None if none are found."""
        state = self._matcher.deep_copy()
        state.consume_tokens(list(first))
        end = self._closer.close(state)
        self.trouble = one_line(state.get_error()) if state.is_error() else ""
        return end

    def _count(self, begun: float) -> None:
        self.milliseconds += (time.perf_counter() - begun) * 1000


def one_line(message: str) -> str:
    """The library's words, without its drawings of where in a pattern something is wrong."""
    return " ".join(message.split())[:_LONGEST_MESSAGE]


def _check_depth(given: object, place: str) -> None:
    level, waiting = 0, [given]
    while waiting:
        if (level := level + 1) > _MOST_LEVELS:
            raise UserError(f"{place} is nested more than {_MOST_LEVELS} levels deep; make it flatter")
        waiting = [part for one in waiting for part in _inside(one)]


def _inside(one: object) -> Collection[Any]:
    return one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _text(given: dict[str, Any], place: str) -> str:
    try:
        text = json.dumps(given, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{place} holds half of a surrogate pair, which is no character") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{place} is not valid JSON: {error}") from None
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"{place} is too large: it has {len(text):,} characters, and may have {_MOST_CHARACTERS:,}")
    return text


def _parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas right within one, with the steps that lead there."""
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            steps: Iterator[tuple[str, Any]] = ((f".{key}.{name}", part) for name, part in value.items())
        elif key in _LISTED and isinstance(value, list):
            steps = ((f".{key}[{number}]", part) for number, part in enumerate(value))
        elif key in _SINGLE:
            steps = iter([(f".{key}", value)])
        else:
            continue
        yield from ((step, part) for step, part in steps if isinstance(part, dict))
