"""Whether a written answer is right: to the letter, but for case, blanks and a full stop or exclamation mark."""

from __future__ import annotations

import re

from stts_calib.questions.question import LETTERS, OwnQuestion

_BEGINS_WITH_LETTER = re.compile(r"\(?([A-Z])(?:[).:,\n]|$)")


def plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".! ")


def meant_option(said: str, options: tuple[str, ...]) -> str | None:
    """The option that a written answer names: by its text, or by the letter that it begins with; None if none."""
    for option in options:
        if plain(said) == plain(option):
            return option
    found = _BEGINS_WITH_LETTER.match(said.strip())
    at = LETTERS.index(found[1]) if found else len(options)
    return options[at] if at < len(options) else None


def is_exact(question: OwnQuestion, said: str) -> bool:
    if question.options:
        return meant_option(said, question.options) == question.answer
    return any(plain(said) == plain(answer) for answer in question.answers)
