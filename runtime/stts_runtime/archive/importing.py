"""Bringing older records into an archive: files of JSON lines, and archives, also damaged ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stts_runtime.archive.entry import Entry
from stts_runtime.archive.salvage import readable
from stts_runtime.archive.writer import ArchiveWriter
from stts_runtime.errors import UserError
from stts_runtime.places import unusable

_BATCH = 1000
_SQLITE = b"SQLite format 3\0"
_LONGEST_LINE = 1_000_000


@dataclass
class Imported:
    new: int = 0
    there: int = 0
    """Already."""
    left_out: int = 0
    """That are no records of a stream."""
    reason: str = ""
    """Why the first record was left out."""


def import_records(file: Path, archive: ArchiveWriter) -> Imported:
    """Raises `UserError` if it cannot be read, `SinkError` if the archive cannot be written."""
    done, batch = Imported(), list[Entry]()
    for place, record in _records(file):
        try:
            batch.append(_entry(record))
        except ValueError as error:
            done.left_out += 1
            done.reason = done.reason or f"{place}: {error}"
        if len(batch) == _BATCH:
            _add(batch, archive, done)
            batch = []
    _add(batch, archive, done)
    return done


def _entry(record: dict[str, Any] | None) -> Entry:
    if record is None:
        raise ValueError("it is no JSON object")
    return Entry.of(record)


def _add(batch: list[Entry], archive: ArchiveWriter, done: Imported) -> None:
    new = archive.add(batch)
    done.new, done.there = done.new + new, done.there + len(batch) - new


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Each with where it stands."""
    try:
        with file.open("rb") as lines:
            if lines.read(len(_SQLITE)) == _SQLITE:
                yield from (("a record", record) for record in readable(file))
                return
            lines.seek(0)
            number = 0
            while line := lines.readline(_LONGEST_LINE):
                number += 1
                if line.strip():
                    yield f"line {number}", _parsed(line)
    except OSError as error:
        raise UserError(unusable(file, error)) from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
