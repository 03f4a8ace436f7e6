"""Writing an archive: what `add` was given is on the disk when it returns, and what is too old or too much goes.

Neither kill -9 nor a power cut takes what `add` returned for, or leaves a part of it (a log with sums of its own, one
fsync for each call). It is pruned a little with each call, so none takes long, however much there is to delete.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from stts_runtime import clock
from stts_runtime.archive.chapters import Chapters
from stts_runtime.archive.entry import Entry, milliseconds
from stts_runtime.archive.lock import WriterLock
from stts_runtime.archive.salvage import is_sound, readable, set_aside
from stts_runtime.archive.schema import PAGE_BYTES, connect_to_write, first_number
from stts_runtime.errors import SinkError, UserError
from stts_runtime.places import shown
from stts_runtime.tell import Tell

_DAY_MS = 86_400_000
_CHAPTERS = 16
"""About this many when an archive of the usual size is full."""
_BYTES_A_RECORD = 1000
_RECORDS_OF_A_CHAPTER = (1000, 62_500)
_PRUNED_AT_A_TIME = 64
_PRUNED_AT_THE_START = 2000
_BATCH = 1000
_MODE = 0o640


Result = TypeVar("Result")


@dataclass(frozen=True)
class Room:
    """What an archive may hold: the file is at most `max_bytes` and its log a few MB, the records `days` old."""

    days: float = 30.0
    max_bytes: int = 1_000_000_000


class ArchiveWriter:
    """Thread-safe. Raises `UserError` if `path` cannot be used, or another process writes it.

    One that is damaged is set aside and told of, and what can be read of it is in the new one.
    """

    def __init__(self, path: Path, room: Room, tell: Tell, now: Callable[[], int] | None = None) -> None:
        """`now` gives milliseconds since 1970."""
        self._path, self._room, self._tell = path, room, tell
        self._now = now or (lambda: milliseconds(clock.wall()))
        self._guard = threading.Lock()
        self._owner = WriterLock(path)
        try:
            self._open()
        except BaseException:
            self._owner.abandon()
            raise
        self._owner.begin()
        self._whole(self._tidy)

    def add(self, entries: Sequence[Entry]) -> int:
        """How many were not there already. Raises `SinkError` if they cannot be kept, and then none of them is."""
        with self._guard:
            return self._whole(lambda: self._added(entries))

    def close(self) -> None:
        with self._guard:
            self._database.close()
            self._owner.close()

    def _open(self) -> None:
        try:
            self._connect()
            if self._owner.was_closed or not self._owner.is_known or is_sound(self._database):
                return
            self._database.close()
        except sqlite3.OperationalError as error:
            raise UserError(f"{shown(self._path)} cannot be used as an archive: {error}") from None
        except sqlite3.DatabaseError:
            if not self._owner.is_known:
                raise UserError(f"{shown(self._path)} is not an archive of records; name another file") from None
        self._begin_anew()

    def _whole(self, work: Callable[[], Result]) -> Result:
        """Does it in a new archive if the old one turns out to be damaged. Raises `SinkError`."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            raise SinkError(f"{shown(self._path)}: {error}") from None
        except sqlite3.DatabaseError:
            self._database.close()
            self._begin_anew()
            return work()

    def _connect(self) -> None:
        # SQLite would let everybody read it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
        self._database = connect_to_write(self._path)
        try:
            self._remember()
        except BaseException:
            self._database.close()
            raise

    def _remember(self) -> None:
        self._streams: dict[str, int] = dict(self._database.execute("SELECT name, id FROM streams"))
        least, most = _RECORDS_OF_A_CHAPTER
        self._chapters = Chapters(
            self._database,
            max(least, min(self._room.max_bytes // (_CHAPTERS * _BYTES_A_RECORD), most)),
            first_number(int(self._room.days * _DAY_MS / _CHAPTERS)),
        )

    def _begin_anew(self) -> None:
        aside = set_aside(self._path)
        self._connect()
        count = sum(self._added(batch) for batch in _batches(_entries(readable(aside))))
        self._tell(
            f"{shown(self._path)} was damaged; it was moved to {aside.name}, and a new one begun with the {count:,} "
            "records that could be read"
        )

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
                self._remember()
            raise

    def _added(self, entries: Sequence[Entry]) -> int:
        with self._changing():
            count = sum(self._add(entry) for entry in entries)
            self._prune(max(_PRUNED_AT_A_TIME, 2 * len(entries)))
        return count

    def _add(self, entry: Entry) -> bool:
        """Whether it was not there already."""
        number = first_number(entry.at)
        while there := self._database.execute("SELECT body FROM records WHERE number = ?", (number,)).fetchone():
            if there == (entry.body,):
                return False
            number += 1
        self._database.execute("INSERT INTO records (number, body) VALUES (?, ?)", (number, entry.body))
        self._chapters.add(number, self._stream(entry.stream), entry.words)
        return True

    def _stream(self, name: str) -> int:
        if name not in self._streams:
            added = self._database.execute("INSERT INTO streams (name) VALUES (?)", (name,)).lastrowid
            assert added is not None
            self._streams[name] = added
        return self._streams[name]

    def _prune(self, most: int) -> int:
        """Deletes at most this many of the oldest, and gives room back; how many."""
        oldest = first_number(self._now() - int(self._room.days * _DAY_MS))
        gone = self._delete(oldest, most)
        if self._pages("page_count") - self._pages("freelist_count") > self._most_pages:
            gone += self._delete(1 << 62, most)
        if gone:
            (lowest,) = self._database.execute("SELECT min(number) FROM records").fetchone()
            self._chapters.drop_below(lowest)
        if self._pages("page_count") > self._most_pages:
            self._database.execute(f"PRAGMA incremental_vacuum({most})").fetchall()
        return gone

    def _delete(self, below: int, most: int) -> int:
        return self._database.execute(
            "DELETE FROM records WHERE number IN (SELECT number FROM records WHERE number < ? ORDER BY number LIMIT ?)",
            (below, most),
        ).rowcount

    def _tidy(self) -> None:
        """For limits that are lower than they were."""
        before = 1 << 62
        while before > (pages := self._pages("page_count")) > self._most_pages:
            before = pages
            with self._changing():
                self._prune(_PRUNED_AT_THE_START)

    @property
    def _most_pages(self) -> int:
        """Less than allowed, by what one call may add."""
        return self._room.max_bytes * 15 // 16 // PAGE_BYTES

    def _pages(self, count: str) -> int:
        return int(self._database.execute(f"PRAGMA {count}").fetchone()[0])


def _entries(records: Iterable[dict[str, object]]) -> Iterator[Entry]:
    for record in records:
        with suppress(ValueError):
            yield Entry.of(record)


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while batch := list(islice(entries, _BATCH)):
        yield batch
