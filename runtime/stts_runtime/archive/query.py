"""Turns text from a search box into an FTS5 expression that SQLite never refuses.

Words are all looked for, "several words" side by side, -word must not be there; `answer:` and `question:` before any of
these look there alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from stts_runtime.archive.entry import folded
from stts_runtime.errors import UserError

_MOST_CHARACTERS = 1000
_MOST_TERMS = 50
_COLUMNS = {"answer": "said", "question": "asked"}
_ANYWHERE = "{said asked place}"
_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02", '"'))
_TERM = re.compile(r'(?P<no>-)?(?:(?P<where>answer|question):)?(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))', re.I)


@dataclass(frozen=True)
class Term:
    phrase: str
    """One or more words, folded."""
    column: str | None = None
    excluded: bool = False

    def __str__(self) -> str:
        quoted = self.phrase.replace('"', '""')
        return f'{self.column or _ANYWHERE} : "{quoted}"'


def parse_query(text: str) -> list[Term]:
    """Raises `UserError` if it is too long, or holds signs and not one word."""
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"a search may have {_MOST_CHARACTERS} characters, and this one has {len(text):,}")
    found = [_term(match) for match in _TERM.finditer(text.translate(_QUOTES))]
    terms = [term for term in found if _has_word(term.phrase)]
    if text.strip() and not terms:
        raise UserError("there is no word to search for: only letters and digits are searched")
    if len(terms) > _MOST_TERMS:
        raise UserError(f"a search may have {_MOST_TERMS} words, and this one has {len(terms)}")
    return terms


def match_expression(terms: Sequence[Term], streams: Sequence[int]) -> str:
    """For records of one of `streams`, by id; none: of any. Terms that are all excluded need all streams named."""
    wanted = [str(term) for term in terms if not term.excluded]
    if streams:
        wanted.append("stream : (" + " OR ".join(f'"{one:d}"' for one in streams) + ")")
    expression = " AND ".join(wanted)
    excluded = " OR ".join(str(term) for term in terms if term.excluded)
    return f"({expression}) NOT ({excluded})" if excluded else expression


def _term(match: re.Match[str]) -> Term:
    phrase = match["word"] if match["phrase"] is None else match["phrase"]
    column = _COLUMNS[match["where"].lower()] if match["where"] else None
    return Term(folded(phrase), column, match["no"] is not None)


def _has_word(phrase: str) -> bool:
    """Whether the index finds anything in it to look for."""
    return any((kind := unicodedata.category(sign))[0] in "LMN" or kind == "Co" for sign in phrase)
