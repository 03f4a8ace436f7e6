"""The tables of an archive, and how it is opened.

A record's number is its time in milliseconds since 1970, times 16, or the next one that is free: in order of number is
in order of time. Its JSON is in `records`. Its words are in an index that is only ever added to, in chapters of
ranges of numbers: a chapter goes as a whole when its last record is gone, which keeps FTS5 from growing by deletions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from stts_runtime.errors import ArchiveError
from stts_runtime.places import check_file, shown

VERSION = 1
_APPLICATION = 0x73747473
"""`stts`, in the header of the file."""
NUMBERS_A_MILLISECOND = 16
PAGE_BYTES = 4096
_BUSY_SECONDS = 5.0
# Marks are parts of words, as the vowels of Hindi are; English endings are left out, so that vans finds van.
_TOKENS = "porter unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE records (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE chapters (id INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL UNIQUE);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""


def new_chapter(database: sqlite3.Connection, first: int) -> int:
    """Its id. It holds the numbers from `first` to the beginning of the next; the lowest one all below, too."""
    chapter = database.execute("INSERT INTO chapters (first) VALUES (?)", (first,)).lastrowid
    assert chapter is not None
    database.execute(
        f"CREATE VIRTUAL TABLE {words_table(chapter)} USING fts5"
        f'(stream, said, asked, place, content="", columnsize=0, tokenize="{_TOKENS}")'
    )
    return chapter


def words_table(chapter: int) -> str:
    return f"words_{chapter:d}"


def first_number(milliseconds: int) -> int:
    return milliseconds * NUMBERS_A_MILLISECOND


def connect_to_write(path: Path) -> sqlite3.Connection:
    """What is committed is on the disk. Raises `ArchiveError` for what is no archive, or none of a known version."""
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise ArchiveError(
                f"{shown(path)} is on a file system where SQLite cannot keep a log of changes; name a place on a "
                "local disk"
            )
        for setting in ("synchronous = FULL", f"journal_size_limit = {1000 * PAGE_BYTES}"):
            database.execute(f"PRAGMA {setting}")
        if not _has_tables(database):
            database.executescript(_TABLES)
        _check_version(database, path)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def connected_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Sees one state of the archive, whatever is written meanwhile. Raises `ArchiveError` if there is none."""
    check_file(path, ArchiveError, wanted="a database of records")
    database = _opened_to_read(path)
    try:
        with damage_named(path):
            database.execute("BEGIN")
            _check_version(database, path)
            yield database
    finally:
        database.close()


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raises `ArchiveError` for what SQLite finds wrong while it reads."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ArchiveError(f"{shown(path)} cannot be read: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ArchiveError(f"{shown(path)} is damaged, or no archive: {error}") from None


def _opened_to_read(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    database = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        database.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        database.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise ArchiveError(
                f"{shown(path)} cannot be read by this user: reading it while it is being written needs write access "
                f"to {path.name}-shm; run this as the user that writes it"
            ) from None
        # It has no writer, and no log can be created for it in a folder that is read-only for us.
        return sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    except sqlite3.DatabaseError:
        pass  # The next to read says so.
    return database


def _has_tables(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise ArchiveError(f"{shown(path)} is a database, but no archive of records; name another file")
    if version > VERSION:
        raise ArchiveError(
            f"{shown(path)} was written by a newer stts-runtime (schema {version}, and this one knows {VERSION})"
        )
