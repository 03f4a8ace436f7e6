from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stts_runtime.errors import SinkError, UserError
from stts_runtime.sinks.spool import Backlog, Spool
from tests.support.places import ROOT

CHILD = """
import sys
from pathlib import Path
from stts_runtime.sinks.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**8, print)
number = 0
while True:
    number += 1
    spool.put(b"%d:" % number + b"x" * (number * 37 % 3000))
    print(number, flush=True)
"""


def opened(path: Path, max_bytes: int = 10**6) -> Spool:
    told: list[str] = []
    spool = Spool(path, max_bytes, told.append)
    assert not told
    return spool


def drained(spool: Spool) -> list[bytes]:
    bodies = []
    while parcel := spool.first():
        bodies.append(parcel.body)
        spool.remove(parcel)
    return bodies


def test_what_waits_is_there_after_a_restart_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool")
    for number in range(5):
        spool.put(b"%d" % number)
    first = spool.first()
    assert first is not None
    spool.remove(first)
    spool.close()
    again = opened(tmp_path / "a.spool")
    assert again.backlog == Backlog(4, 0)
    assert drained(again) == [b"1", b"2", b"3", b"4"]
    assert again.backlog == Backlog(0, 0)
    again.close()


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool", max_bytes=10)
    for body in (b"aaaa", b"bbbb", b"cc", b"dddddd"):
        spool.put(body)
    assert spool.backlog == Backlog(2, 2)
    assert drained(spool) == [b"cc", b"dddddd"]
    with pytest.raises(SinkError, match="11 bytes is more than"):
        spool.put(b"x" * 11)
    spool.close()


def test_its_file_does_not_grow_with_what_passes_through(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool", max_bytes=20_000)
    for _ in range(300):
        spool.put(b"x" * 5000)
    spool.close()
    assert (tmp_path / "a.spool").stat().st_size < 100_000


def test_one_that_was_dropped_while_under_way_is_not_subtracted_twice(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool", max_bytes=4)
    spool.put(b"aaaa")
    under_way = spool.first()
    spool.put(b"bb")
    assert under_way is not None
    spool.remove(under_way)
    assert spool.backlog == Backlog(1, 1)
    spool.put(b"cc")
    assert drained(spool) == [b"bb", b"cc"]
    spool.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool")
    with pytest.raises(UserError, match="in use by another process"):
        opened(tmp_path / "a.spool")
    spool.close()
    opened(tmp_path / "a.spool").close()


def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    path, told = tmp_path / "a.spool", list[str]()
    path.write_bytes(b"no database " * 500)
    spool = Spool(path, 1000, told.append)
    spool.put(b"new")
    assert drained(spool) == [b"new"]
    spool.close()
    assert len(told) == 1
    assert "a.spool.damaged" in told[0]
    assert (tmp_path / "a.spool.damaged").read_bytes().startswith(b"no database")


def test_a_place_that_cannot_be_written_is_the_users_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used as a spool"):
        opened(tmp_path / "file" / "a.spool")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool")
    spool.put(b"first")
    spool._database.execute("PRAGMA max_page_count=2")
    with pytest.raises(SinkError, match="full"):
        spool.put(b"x" * 50_000)
    waiting = spool.backlog.waiting
    spool._database.execute("PRAGMA max_page_count=10000")
    spool.put(b"last")
    bodies = drained(spool)
    assert bodies[0] == b"first"
    assert bodies[-1] == b"last"
    assert len(bodies) == waiting + 1
    spool.close()


def test_a_log_cut_at_any_byte_holds_whole_records_only(tmp_path: Path) -> None:
    """What a power cut may leave of the end of the log on a disk that promised more than it did."""
    bodies = [b"%d" % number * 40 for number in range(1, 5)]
    spool = opened(tmp_path / "a.spool")
    for body in bodies:
        spool.put(body)
    shutil.copytree(tmp_path, tmp_path / "crash")
    spool.close()
    crash = tmp_path / "crash"
    database, log = (crash / "a.spool").read_bytes(), (crash / "a.spool-wal").read_bytes()
    lengths = set()
    frame = 24 + 4096
    tail = [*range(len(log) - frame - 30, len(log) - frame + 60), *range(len(log) - 60, len(log) + 1)]
    for end in [*range(0, len(log), 197), *tail]:
        (crash / "a.spool").write_bytes(database)
        (crash / "a.spool-wal").write_bytes(log[:end])
        reopened = opened(crash / "a.spool")
        held = drained(reopened)
        reopened.close()
        assert held == bodies[: len(held)]
        lengths.add(len(held))
    assert lengths == {0, 1, 2, 3, 4}
    assert held == bodies


def test_kill_takes_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, text=True, env=environment()
    ) as child:
        assert child.stdout is not None
        said = [int(next(child.stdout)) for _ in range(60)]
        os.kill(child.pid, signal.SIGKILL)
        said += [int(line) for line in child.stdout if line.endswith("\n")]
    spool = opened(path, 10**8)
    numbers = [int(body.partition(b":")[0]) for body in drained(spool)]
    spool.close()
    assert numbers == list(range(1, len(numbers) + 1))
    assert said[-1] <= len(numbers) <= said[-1] + 1


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.binary(min_size=1, max_size=30)),
        st.tuples(st.sampled_from(["take", "restart", "crash"]), st.just(b"")),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, max_bytes=st.sampled_from([40, 10_000]))
def test_any_order_of_writes_receipts_and_restarts_keeps_order_and_loses_nothing_unsaid(
    steps: list[tuple[str, bytes]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, model, dropped = Path(folder) / "a.spool", [], 0
        spool = opened(path, max_bytes)
        for what, body in steps:
            if what == "put":
                spool.put(body)
                model.append(body)
                while sum(map(len, model)) > max_bytes:
                    model.pop(0)
                    dropped += 1
            elif what == "take":
                parcel = spool.first()
                assert (parcel.body if parcel else None) == (model.pop(0) if model else None)
                if parcel:
                    spool.remove(parcel)
            else:
                path = restarted(spool, path, crash=what == "crash")
                spool, dropped = opened(path, max_bytes), 0
            assert spool.backlog == Backlog(len(model), dropped)
        assert drained(spool) == model
        spool.close()


def restarted(spool: Spool, path: Path, *, crash: bool) -> Path:
    """A crash is what lies on the disk at this moment."""
    if not crash:
        spool.close()
        return path
    there = path.parent / "again"
    there.mkdir()
    for file in path.parent.glob("a.spool*"):
        shutil.copy(file, there)
    spool.close()
    return there / path.name


def test_the_database_is_one_that_any_sqlite_reads(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a.spool")
    spool.put(b"hello")
    spool.close()
    database = sqlite3.connect(tmp_path / "a.spool")
    assert database.execute("SELECT body FROM waiting").fetchall() == [(b"hello",)]
    database.close()
