"""What pydantic found wrong with a configuration, in words for the author of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_MOST_MISTAKES = 3
FORM = "<"
"""Begins the name of a form of a union, which is no step to a setting."""
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
        steps = [step for step in one["loc"] if not (isinstance(step, str) and step.startswith(FORM))]
        setting = steps[:3] if steps[:1] == ["streams"] else steps[:1]
        found.setdefault(path_text(setting), _sentence(named_place(steps, given), one))
    said = list(found.values())
    more = [f"and {len(said) - _MOST_MISTAKES} more"] if len(said) > _MOST_MISTAKES else []
    return "; ".join(said[:_MOST_MISTAKES] + more)


def named_place(steps: Sequence[int | str], given: object) -> str:
    """`streams[0].source (stream gate)`, the name as `given` has it, if it can be used."""
    place = path_text(steps)
    match steps:
        case ["streams", int(index), *_]:
            streams = given.get("streams") if isinstance(given, Mapping) else None
            entry = streams[index] if isinstance(streams, Sequence) and index < len(streams) else None
            name = entry.get("name") if isinstance(entry, Mapping) else None
            known = f"stream {name}" if isinstance(name, str) and name.isprintable() else ""
            if elsewhere := getattr(entry, "place", None):
                # Its number counts those of all files.
                inner = path_text(steps[2:])
                known = f"{inner} ({known})" if inner and known else inner or known
                return f"{elsewhere}: {known}"
            return f"{place} ({known})" if known else place
    return place


def _sentence(place: str, mistake: Mapping[str, Any]) -> str:
    words, is_sentence = words_of(mistake), mistake["type"] in _WORDS
    return f"{place}{' ' if is_sentence else ': '}{words}" if place else words


def path_text(steps: Sequence[int | str]) -> str:
    """`streams[0].sinks[1].to`; an empty step stands for any number."""
    text = "".join(f"[{step}]" if isinstance(step, int) or not step else f".{step}" for step in steps)
    return text.removeprefix(".")


def words_of(mistake: Mapping[str, Any], others: Mapping[str, str] | None = None) -> str:
    """What follows the name of a setting; `others` are by the type of pydantic's error, before those of here."""
    if words := (others or {}).get(mistake["type"]) or _WORDS.get(mistake["type"]):
        return words.format(**mistake.get("ctx", {}))
    return str(mistake["msg"]).removeprefix("Value error, ")
