"""The index of an archive by ranges of numbers, as `schema` has it: which chapter takes a record, and which may go."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from dataclasses import dataclass

from stts_runtime.archive.entry import Words
from stts_runtime.archive.schema import new_chapter, words_table


@dataclass
class Chapter:
    id: int
    first: int
    last: int
    """The highest number that it holds."""
    count: int


class Chapters:
    """Chapters of a database that is being written. After a rollback, create a new object."""

    def __init__(self, database: sqlite3.Connection, most_records: int, most_numbers: int) -> None:
        """A chapter that has this many records, or covers this many numbers, is followed by another."""
        self._database, self._most_records, self._most_numbers = database, most_records, most_numbers
        rows = database.execute("SELECT id, first FROM chapters ORDER BY first").fetchall()
        firsts = [first for _, first in rows]
        begins, ends = [0, *firsts[1:]], [*firsts[1:], 1 << 62]
        self._all = [
            self._read(chapter, first, begin, end)
            for (chapter, first), begin, end in zip(rows, begins, ends, strict=False)
        ]

    def add(self, number: int, stream: int, words: Words) -> None:
        chapter = self._chapter_of(number)
        self._database.execute(
            f"INSERT INTO {words_table(chapter.id)} (rowid, stream, said, asked, place) "  # noqa: S608  # a number
            "VALUES (?, ?, ?, ?, ?)",
            (number, str(stream), *words),
        )
        chapter.last, chapter.count = max(chapter.last, number), chapter.count + 1

    def drop_below(self, lowest: int | None) -> None:
        """Those that hold nothing but what is below `lowest`, the lowest number that is left; None: nothing is."""
        while self._all and (lowest is None or (len(self._all) > 1 and lowest >= self._all[1].first)):
            chapter = self._all.pop(0)
            self._database.execute(f"DROP TABLE {words_table(chapter.id)}")
            self._database.execute("DELETE FROM chapters WHERE id = ?", (chapter.id,))

    def _chapter_of(self, number: int) -> Chapter:
        index = max(bisect_right(self._all, number, key=lambda one: one.first) - 1, 0)
        if not self._all or self._is_full(self._all[index], number):
            index += len(self._all) > 0
            self._all.insert(index, Chapter(new_chapter(self._database, number), number, number, 0))
        return self._all[index]

    def _is_full(self, chapter: Chapter, number: int) -> bool:
        """Only what comes after all that is there may begin the next."""
        full = chapter.count >= self._most_records or number - chapter.first >= self._most_numbers
        return full and number > chapter.last

    def _read(self, chapter: int, first: int, begin: int, end: int) -> Chapter:
        count, last = self._database.execute(
            "SELECT count(*), max(number) FROM records WHERE number >= ? AND number < ?", (begin, end)
        ).fetchone()
        return Chapter(chapter, first, first if last is None else last, count)
