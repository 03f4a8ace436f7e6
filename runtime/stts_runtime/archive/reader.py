"""Searching archives while they are written: the newest records first that hold all the words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

from stts_runtime.archive.entry import milliseconds
from stts_runtime.archive.query import Term, match_expression, parse_query
from stts_runtime.archive.schema import connected_to_read, damage_named, first_number, words_table
from stts_runtime.errors import ArchiveError, UserError

_NUMBERS_END = 1 << 62
_MOST_NAMES = 20


@dataclass(frozen=True)
class Wanted:
    words: str = ""
    """As in `query`; empty: every record."""
    since: datetime | None = None
    until: datetime | None = None
    """Up to this moment, which is left out."""
    streams: tuple[str, ...] = ()
    """One of these; none: all."""
    limit: int = 20
    before: int | None = None
    """Only records with a lower number: those after the last of an earlier search."""

    @property
    def numbers(self) -> tuple[int, int]:
        """The lowest, and the one behind the highest."""
        low = 0 if self.since is None else first_number(milliseconds(self.since))
        high = _NUMBERS_END if self.until is None else first_number(milliseconds(self.until))
        return max(low, 0), high if self.before is None else min(high, self.before)


@dataclass(frozen=True)
class Found:
    number: int
    """Higher is newer."""
    record: dict[str, Any]


@dataclass(frozen=True)
class Results:
    found: list[Found]
    is_more: bool
    """Whether there are others after them."""
    notes: list[str]
    """What could not be read."""


def search(paths: Sequence[Path], wanted: Wanted) -> Results:
    """In all of these archives. Raises `ArchiveError` for one that cannot be read, `UserError` for a stream that none
    of them knows and for words that are too many.
    """
    terms = parse_query(wanted.words)
    names = {name for path in paths for name in stream_names(path)}
    if unknown := [name for name in wanted.streams if name not in names]:
        raise UserError(f"no record of a stream {unknown[0]}; {_listed(sorted(names))}")
    notes: list[str] = []
    each = [list(_search_one(path, terms, wanted, notes)) for path in paths]
    found = list(islice(merge(*each, key=lambda one: -one.number), wanted.limit + 1))
    return Results(found[: wanted.limit], len(found) > wanted.limit, notes)


def check_archive(path: Path) -> None:
    """Raises `ArchiveError` if it cannot be read."""
    stream_names(path)


def stream_names(path: Path) -> list[str]:
    """Names of all streams that ever wrote there. Raises `ArchiveError` if it cannot be read."""
    with connected_to_read(path) as database:
        return [name for (name,) in database.execute("SELECT name FROM streams ORDER BY name")]


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "nothing was written yet"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"there are {', '.join(names[:_MOST_NAMES])}{more}"


def _search_one(path: Path, terms: Sequence[Term], wanted: Wanted, notes: list[str]) -> Iterator[Found]:
    """Newest first, one more than wanted if there are this many."""
    most = wanted.limit + 1
    with connected_to_read(path) as database:
        streams = _ids(database, wanted.streams or (stream_names(path) if _excludes_alone(terms) else ()))
        if wanted.streams and not streams:
            return
        if not terms and not streams:
            rows = _listing(database, wanted, most)
        else:
            rows = islice(_matches(database, match_expression(terms, streams), wanted, most, path, notes), most)
        for number, body in rows:
            yield Found(number, json.loads(body))


def _excludes_alone(terms: Sequence[Term]) -> bool:
    return bool(terms) and all(term.excluded for term in terms)


def _ids(database: sqlite3.Connection, names: Sequence[str]) -> list[int]:
    known = dict(database.execute("SELECT name, id FROM streams"))
    return [known[name] for name in names if name in known]


def _listing(database: sqlite3.Connection, wanted: Wanted, most: int) -> Iterator[tuple[int, str]]:
    yield from database.execute(
        "SELECT number, body FROM records WHERE number >= ? AND number < ? ORDER BY number DESC LIMIT ?",
        (*wanted.numbers, most),
    )


def _matches(
    database: sqlite3.Connection, expression: str, wanted: Wanted, most: int, path: Path, notes: list[str]
) -> Iterator[tuple[int, str]]:
    """Chapter by chapter. One that is damaged is noted, and the others are searched."""
    low, high = wanted.numbers
    for chapter in _chapters(database, low, high):
        table = words_table(chapter)
        try:
            with damage_named(path):
                yield from database.execute(
                    f"SELECT number, body FROM {table} JOIN records ON number = {table}.rowid "  # noqa: S608  # a number
                    f"WHERE {table} MATCH ? AND {table}.rowid >= ? AND {table}.rowid < ? "
                    f"ORDER BY {table}.rowid DESC LIMIT ?",
                    (expression, low, high, most),
                )
        except ArchiveError as error:
            notes.append(f"not all could be searched: {error}")


def _chapters(database: sqlite3.Connection, low: int, high: int) -> list[int]:
    """Those that may hold such numbers, newest first; the lowest holds all that is below the second."""
    rows = database.execute("SELECT id, first FROM chapters ORDER BY first DESC").fetchall()
    ends = [_NUMBERS_END, *(first for _, first in rows[:-1])]
    begins = [*(first for _, first in rows[:-1]), 0]
    return [chapter for (chapter, _), begin, end in zip(rows, begins, ends, strict=False) if begin < high and end > low]
