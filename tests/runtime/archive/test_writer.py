"""What stays whatever happens: kills, torn pages, limits, and others who read and write at the same time."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stts_runtime.archive.entry import Entry
from stts_runtime.archive.reader import Wanted, search
from stts_runtime.archive.schema import PAGE_BYTES
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.errors import SinkError, UserError
from tests.support.archived import BEGIN, entry_of
from tests.support.places import ROOT

ROOM = Room(days=36_500, max_bytes=100_000_000)
DAY_MS = 86_400_000
CHILD = """
import sys
from pathlib import Path
from stts_runtime.archive.writer import ArchiveWriter, Room
from tests.support.archived import entry_of
archive = ArchiveWriter(Path(sys.argv[1]), Room(36_500, 100_000_000), print)
for number in range(int(sys.argv[2]), 10**9):
    archive.add([entry_of("A van stops, " + "and waits " * (number % 7), number, number=number)])
    print(number, flush=True)
"""
READER = """
import sys, time
from pathlib import Path
from stts_runtime.archive.reader import Wanted, search
for _ in range(40):
    print(len(search([Path(sys.argv[1])], Wanted("van", limit=10**6)).found))
    time.sleep(0.005)
"""


def opened(path: Path, room: Room = ROOM, told: list[str] | None = None, now: int | None = None) -> ArchiveWriter:
    lines: list[str] = [] if told is None else told
    writer = ArchiveWriter(path, room, lines.append, None if now is None else lambda: now)
    assert told is not None or not lines
    return writer


def numbers(path: Path, words: str = "") -> list[int]:
    """Of all records with these words, the oldest first."""
    return [one.record["number"] for one in reversed(search([path], Wanted(words, limit=10**6)).found)]


def entries(these: Sequence[int], answer: str = "A van stops") -> list[Entry]:
    return [entry_of(f"{answer} {number}", number, number=number) for number in these]


def filled(path: Path, count: int, room: Room = ROOM) -> None:
    writer = opened(path, room)
    writer.add(entries(range(count)))
    writer.close()


def killed_while_it_writes(path: Path, begin: int, after: int) -> int:
    """The last number that a writer said was kept before it was killed."""
    command = [sys.executable, "-c", CHILD, str(path), str(begin)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        return [*said, *(int(line) for line in child.stdout if line.endswith("\n"))][-1]


def torn(path: Path, page: int) -> None:
    """Half of a page is of another time, as a power cut leaves it where a disk says it has what it has not."""
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES + PAGE_BYTES // 2)
        file.write(random.Random(page).randbytes(PAGE_BYTES // 2))


def test_nothing_that_was_kept_is_lost_to_a_kill(tmp_path: Path) -> None:
    path, last = tmp_path / "a.db", -1
    for after in (5, 40):
        # One that was under way may have got there, too; it is not there twice then.
        last = killed_while_it_writes(path, last + 1, after)
        assert numbers(path, "van") in (list(range(last + 1)), list(range(last + 2)))
    writer = opened(path)
    assert numbers(path) == numbers(path, "van")
    writer.close()


def test_a_log_that_is_torn_at_its_end_loses_what_was_torn_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    last = killed_while_it_writes(path, 0, 10)
    log = path.with_name("a.db-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - PAGE_BYTES // 2)
    writer = opened(path)
    kept = numbers(path, "van")
    assert kept == list(range(len(kept)))
    assert last - 1 <= len(kept) <= last + 1
    writer.close()


def test_a_torn_page_is_said_in_a_line_and_the_rest_is_read(tmp_path: Path) -> None:
    whole, lines = tmp_path / "whole" / "a.db", list[str]()
    whole.parent.mkdir()
    filled(whole, 1500)
    last = killed_while_it_writes(whole, 1500, 3)
    for page in random.Random(0).sample(range(2, whole.stat().st_size // PAGE_BYTES), 8):
        path, told = tmp_path / str(page) / "a.db", list[str]()
        shutil.copytree(whole.parent, path.parent)
        torn(path, page)
        writer = opened(path, told=told)
        there = numbers(path)
        assert numbers(path, "van") == there
        # A page of records holds about twenty; those of the index hold none.
        assert len(there) > last - 50
        if told:
            begun = (
                f"was damaged; it was moved to a.db.damaged, and a new one begun with the {len(there):,} records that"
            )
            assert [begun in line for line in told] == [True]
            assert path.with_name("a.db.damaged").exists()
        writer.add(entries([9999]))
        assert numbers(path, "9999") == [9999]
        writer.close()
        lines += told
    assert lines


def test_damage_that_shows_while_it_writes_is_set_aside_too(tmp_path: Path) -> None:
    path, told = tmp_path / "a.db", list[str]()
    filled(path, 500)
    database = sqlite3.connect(path)
    (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
    database.close()
    writer = opened(path, told=told)
    writer._database.execute("PRAGMA cache_size = 0")
    torn(path, root - 1)
    writer.add(entries([500]))
    assert len(told) == 1
    assert numbers(path, "500") == [500]
    writer.close()


def test_the_wreck_of_a_wreck_does_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for _ in range(2):
        filled(path, 1)
        path.with_name("a.db.lock").write_text("open  \n")
        path.write_bytes(b"x" * 5000)
        opened(path, told=[]).close()
    assert {one.name for one in tmp_path.iterdir()} == {"a.db", "a.db.lock", "a.db.damaged"}


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("my notes")
    with pytest.raises(UserError, match=r"notes\.db is not an archive of records; name another file"):
        opened(path)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(UserError, match="but no archive of records"):
        opened(other)
    assert path.read_text() == "my notes"
    assert {one.name for one in tmp_path.iterdir()} == {"notes.db", "other.db"}


def test_one_writes_and_others_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = opened(path)
    writer.add(entries([1]))
    with pytest.raises(UserError, match=r"a\.db is being written by another process, .*: one writes it, and any num"):
        opened(path)
    command = [sys.executable, "-c", READER, str(path)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    number = 1
    while any(reader.poll() is None for reader in readers):
        number += 1
        writer.add(entries([number]))
    for reader in readers:
        counts = [int(count) for count in reader.communicate()[0].split()]
        assert reader.returncode == 0
        assert counts == sorted(counts)
        assert 1 <= counts[0] < counts[-1] <= number
    writer.close()
    opened(path).close()


def test_a_record_that_is_there_is_not_added_again(tmp_path: Path) -> None:
    writer = opened(tmp_path / "a.db")
    same_moment = [entry_of(f"answer {number}", 7) for number in range(40)]
    assert writer.add(same_moment) == 40
    assert writer.add([*same_moment, entry_of("new", 7)]) == 1
    assert [one.record["answer"] for one in search([tmp_path / "a.db"], Wanted(limit=2)).found] == ["new", "answer 39"]
    writer.close()


def test_records_that_come_late_are_found_in_their_order(tmp_path: Path) -> None:
    """A clock that is set, and imports."""
    path, room = tmp_path / "a.db", Room(36_500, 8_000_000)
    writer = opened(path, room)
    order = [*range(5000, 8000), *range(100), *range(8000, 8100), 10**7, *range(8100, 9500), *range(100, 200)]
    for begin in range(0, len(order), 50):
        writer.add([entry_of("van", second, number=second) for second in order[begin : begin + 50]])
    assert numbers(path, "van") == numbers(path) == sorted(order)
    writer.close()
    again = opened(path, room)
    again.add([entry_of("van", 9500, number=9500)])
    assert numbers(path, "van") == sorted([*order, 9500])
    again.close()


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = opened(path, Room(2, 10**8), now=BEGIN + 3 * DAY_MS)
    hours = [entry_of("van", hour * 3600, number=hour) for hour in range(0, 72, 2)]
    for entry in hours:
        writer.add([entry])
    assert numbers(path) == numbers(path, "van") == list(range(24, 72, 2))
    writer.close()


def test_what_is_too_much_goes_and_the_file_keeps_its_size(tmp_path: Path) -> None:
    path, sizes = tmp_path / "a.db", []
    writer = opened(path, Room(36_500, 1_000_000))
    for begin in range(0, 8000, 40):
        writer.add(entries(range(begin, begin + 40), "A white van stops at the gate and waits"))
        sizes.append(path.stat().st_size)
    kept = numbers(path)
    assert max(sizes) <= 1_000_000
    assert kept == numbers(path, "white van") == list(range(kept[0], 8000))
    assert len(kept) > 1500
    # The index goes with its records.
    (chapters,) = writer._database.execute(
        "SELECT count(*) FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"
    ).fetchone()
    assert chapters <= len(kept) / 1000 + 2
    writer.close()


def test_a_lower_limit_makes_the_file_smaller(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    filled(path, 7000)
    assert path.stat().st_size > 1_400_000
    opened(path, Room(36_500, 1_000_000)).close()
    assert path.stat().st_size <= 1_000_000
    assert numbers(path)[-1] == 6999


def test_a_full_disk_is_one_line_and_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = opened(path)
    writer.add(entries(range(10)))
    (pages,) = writer._database.execute("PRAGMA page_count").fetchone()
    writer._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SinkError, match=r"a\.db: database or disk is full"):
        writer.add(entries(range(10, 1000)))
    writer._database.execute("PRAGMA max_page_count = 100000")
    writer.add(entries([10]))
    assert numbers(path, "van") == numbers(path) == list(range(11))
    writer.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    writer = opened(tmp_path / "a.db")
    writer.add(entries([1]))
    modes = {stat.S_IMODE(one.stat().st_mode) & 0o137 for one in tmp_path.iterdir()}
    assert modes == {0}
    writer.close()
