"""What waits on the disk until the other side has it: a queue in SQLite, bounded in bytes.

A record is on the disk (WAL, one fsync each) when `put` returns: neither kill -9 nor a power cut takes it, and none is
ever there by half. Knows neither records nor networks.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.errors import SinkError, UserError
from stts_runtime.places import check_makeable, reason, shown

_TABLE = "CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL)"


@dataclass(frozen=True)
class Parcel:
    id: int
    body: bytes


@dataclass(frozen=True)
class Backlog:
    """How many wait; and since the start, how many were dropped for want of space or refused by the receiver."""

    waiting: int
    dropped: int
    refused: int = 0


class Spool:
    """Thread-safe. Holds at most `max_bytes` of bodies, in order; `path` belongs to one process at a time.

    Raises `UserError` if `path` cannot be used, or another process holds it. A damaged one is set aside and told of.
    """

    def __init__(self, path: Path, max_bytes: int, tell: Callable[[str], None]) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._lock = threading.Lock()
        self._database = self._opened(tell)
        count, size = self._database.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM waiting").fetchone()
        self._count, self._bytes, self._dropped = int(count), int(size), 0

    @property
    def backlog(self) -> Backlog:
        with self._lock:
            return Backlog(self._count, self._dropped)

    def put(self, body: bytes) -> None:
        """Adds at the end and drops from the front what no longer fits. Raises `SinkError` if it cannot be kept."""
        if len(body) > self._max_bytes:
            raise SinkError(f"a record of {len(body)} bytes is more than {self._path.name} may hold in all")
        with self._changing():
            count, size = self._too_much(len(body))
            self._database.execute(
                "DELETE FROM waiting WHERE id IN (SELECT id FROM waiting ORDER BY id LIMIT ?)", (count,)
            )
            self._database.execute("INSERT INTO waiting (body) VALUES (?)", (body,))
            self._database.commit()
            self._count, self._bytes = self._count + 1 - count, self._bytes + len(body) - size
            self._dropped += count

    def first(self) -> Parcel | None:
        """The oldest, which stays until it is removed."""
        with self._changing():
            row = self._database.execute("SELECT id, body FROM waiting ORDER BY id LIMIT 1").fetchone()
        return None if row is None else Parcel(row[0], row[1])

    def remove(self, parcel: Parcel) -> None:
        """The other side has it. One that was dropped meanwhile is counted as dropped all the same."""
        with self._changing():
            gone = self._database.execute("DELETE FROM waiting WHERE id = ?", (parcel.id,)).rowcount
            self._database.commit()
            self._count, self._bytes = self._count - gone, self._bytes - gone * len(parcel.body)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _too_much(self, more: int) -> tuple[int, int]:
        """Number and bytes of the oldest that must go before `more` bytes fit."""
        count, size = 0, 0
        if self._bytes + more <= self._max_bytes:
            return 0, 0
        for (length,) in self._database.execute("SELECT length(body) FROM waiting ORDER BY id"):
            count, size = count + 1, size + length
            if self._bytes - size + more <= self._max_bytes:
                break
        return count, size

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """All or nothing, and never two threads."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    self._database.rollback()
                raise SinkError(f"{self._path}: {error}") from None

    def _opened(self, tell: Callable[[str], None]) -> sqlite3.Connection:
        try:
            check_makeable(self._path.parent)
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _connected(self._path)
        except UserError as error:
            raise UserError(f"{self._path.name} cannot be used as a spool: {error}") from None
        except OSError as error:
            raise UserError(f"{shown(self._path)} cannot be used as a spool: {reason(error)}") from None
        except sqlite3.OperationalError as error:
            if not self._path.stat().st_size:
                # Made just now, and nothing came to lie in it.
                self._path.unlink(missing_ok=True)
            locked = "database is locked" in str(error)
            raise UserError(
                f"{self._path} is in use by another process, or by another sink of the same name; `called` names one"
                if locked
                else f"{self._path} cannot be used as a spool: {error}"
            ) from None
        except sqlite3.DatabaseError:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            self._path.replace(aside)
            # A log left behind would be read into the new database.
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            tell(
                f"{self._path} was damaged, and what waited there is lost to the receiver; it was moved to {aside.name}"
            )
            return _connected(self._path)


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # The lock is held until the process ends, however it ends.
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "journal_size_limit=4000000"):
            database.execute(f"PRAGMA {setting}")
        database.execute(_TABLE)
        database.commit()
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
    except BaseException:
        database.close()
        raise
    return database
