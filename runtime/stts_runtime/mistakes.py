"""What pydantic found wrong with a configuration, in words for whoever wrote the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_MOST_MISTAKES = 3
_WORDS = {
    "missing": "is missing",
    "string_type": "should be text; put it in quotes",
    "string_too_short": "should not be empty",
    "string_too_long": "should have at most {max_length} characters",
    "string_pattern_mismatch": "should hold only letters, digits and . _ -, and begin with a letter or digit",
    "tuple_type": "should be a list",
    "model_type": "should be settings, each written as KEY: VALUE",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_parsing_size": "should be a whole number, and not so large",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be at most {le}",
    "literal_error": "should be {expected}",
    "path_type": "should be a path; put it in quotes",
    "path_not_file": "should be a file that exists",
}
"""By the type of pydantic's error, after the name of the setting."""


def mistakes(error: ValidationError, given: object = None) -> str:
    """The first mistake of each of the first few settings, in one line, without what was written there.

    `given` is what was validated: streams are named as they are there.
    """
    found: dict[str, str] = {}
    for one in error.errors(include_input=False, include_url=False):
        place, setting = _place(one["loc"], given)
        found.setdefault(f"{place}{setting.partition('.')[0]}", f"{place}{_sentence(setting, one)}")
    said = list(found.values())
    more = [f"and {len(said) - _MOST_MISTAKES} more"] if len(said) > _MOST_MISTAKES else []
    return "; ".join(said[:_MOST_MISTAKES] + more)


def stream_label(entry: object, index: int) -> str:
    """`stream NAME`, or `stream number N` for one whose name cannot be used."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f"stream {name}" if isinstance(name, str) and name.isprintable() else f"stream number {index + 1}"


def _place(location: tuple[int | str, ...], given: object) -> tuple[str, str]:
    """The stream that a mistake belongs to, if any, and the setting."""
    match location:
        case ("streams", int(index), *rest):
            streams = given.get("streams") if isinstance(given, Mapping) else None
            entry = streams[index] if isinstance(streams, Sequence) and index < len(streams) else None
            label = stream_label(entry, index)
            return (f"{label}: ", _dotted(rest)) if rest else ("", label)
        case _:
            return "", _dotted(location)


def _dotted(steps: Sequence[int | str]) -> str:
    return ".".join(map(str, steps))


def _sentence(setting: str, mistake: Mapping[str, Any]) -> str:
    if words := _WORDS.get(mistake["type"]):
        return f"{setting} {words.format(**mistake.get('ctx', {}))}"
    words = mistake["msg"].removeprefix("Value error, ")
    return f"{setting}: {words}" if setting else words
