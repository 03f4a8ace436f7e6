"""What becomes of a damaged archive: it is moved out of the way, and what can be read of it is read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote


def is_sound(database: sqlite3.Connection) -> bool:
    """Reads all of it: a second or more for each gigabyte."""
    try:
        return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


def set_aside(path: Path) -> Path:
    """Moves it, with its log, over the one that was set aside before; where to."""
    aside = path.with_name(f"{path.name}.damaged")
    for suffix in ("-wal", "-shm"):
        aside.with_name(aside.name + suffix).unlink(missing_ok=True)
    path.replace(aside)
    # A log left behind would be read into the new database.
    with suppress(FileNotFoundError):
        path.with_name(f"{path.name}-wal").replace(aside.with_name(f"{aside.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return aside


def readable(path: Path) -> Iterator[dict[str, Any]]:
    """The records of an archive as far as they can be read, the oldest first, which an index takes soonest: those below
    the lowest damage, and those above the highest.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as database:
        # Bytes: of a damaged page it may be no text.
        database.text_factory = bytes
        highest = -1
        with suppress(sqlite3.DatabaseError):
            for number, body in _rows_from(database, 0):
                yield from _record(body)
                highest = number
            return
        with suppress(sqlite3.DatabaseError):
            for _, body in _rows_from(database, _lowest_above_damage(database, highest)):
                yield from _record(body)


def _rows_from(database: sqlite3.Connection, number: int) -> sqlite3.Cursor:
    return database.execute("SELECT number, body FROM records WHERE number >= ? ORDER BY number", (number,))


def _lowest_above_damage(database: sqlite3.Connection, damage: int) -> int:
    """The lowest number that can be read, from the highest down; `damage` is below all of them."""
    lowest = 1 << 62
    with suppress(sqlite3.DatabaseError):
        for (number,) in database.execute(
            "SELECT number FROM records WHERE number > ? ORDER BY number DESC", (damage,)
        ):
            lowest = number
    return lowest


def _record(body: object) -> Iterator[dict[str, Any]]:
    with suppress(ValueError):
        record = json.loads(body) if isinstance(body, bytes) else None
        if isinstance(record, dict):
            yield record
