"""Older files of records into an archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stts_runtime.archive.importing import Imported, import_records
from stts_runtime.archive.reader import Wanted, search
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.errors import UserError
from tests.support.archived import record_of

ROOM = Room(days=36_500, max_bytes=100_000_000)


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveWriter:
    return ArchiveWriter(tmp_path / "a.db", ROOM, print)


def lines(*records: object) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def test_lines_are_brought_in_once_and_what_is_none_is_counted(archive: ArchiveWriter, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    other = {"schema_name": "stts.answer/1", "source": "a.mp4"}
    file.write_text(lines(record_of("a van", 5), other, record_of("a dog", 3)) + '\n{"half": \n[1]\n' + "[" * 100_000)
    left_out = "line 2: stream is missing, or no text"
    assert import_records(file, archive) == Imported(new=2, there=0, left_out=4, reason=left_out)
    assert import_records(file, archive) == Imported(new=0, there=2, left_out=4, reason=left_out)
    found = search([tmp_path / "a.db"], Wanted()).found
    assert [one.record["answer"] for one in found] == ["a van", "a dog"]
    archive.close()


def test_another_archive_is_brought_in(archive: ArchiveWriter, tmp_path: Path) -> None:
    other = ArchiveWriter(tmp_path / "other.db", ROOM, print)
    (tmp_path / "old.jsonl").write_text(lines(*(record_of("a van", second) for second in range(2500))))
    import_records(tmp_path / "old.jsonl", other)
    other.close()
    assert import_records(tmp_path / "other.db", archive).new == 2500
    assert len(search([tmp_path / "a.db"], Wanted("van", limit=10_000)).found) == 2500
    archive.close()


def test_a_file_that_cannot_be_read_is_said(archive: ArchiveWriter, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        import_records(tmp_path / "gone.jsonl", archive)
    archive.close()
