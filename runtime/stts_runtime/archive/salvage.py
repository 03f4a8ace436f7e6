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
    """The records of an archive as far as they can be read: the newest first, and behind damage the oldest first."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as database:
        # Bytes: of a damaged page it may be no text.
        database.text_factory = bytes
        lowest = 1 << 63
        with suppress(sqlite3.DatabaseError):
            for number, body in database.execute("SELECT number, body FROM records ORDER BY number DESC"):
                yield from _record(body)
                lowest = number
            return
        with suppress(sqlite3.DatabaseError):
            for number, body in database.execute("SELECT number, body FROM records ORDER BY number"):
                if number >= lowest:
                    return
                yield from _record(body)


def _record(body: object) -> Iterator[dict[str, Any]]:
    with suppress(ValueError):
        record = json.loads(body) if isinstance(body, bytes) else None
        if isinstance(record, dict):
            yield record
