#!/usr/bin/env python3
"""What an archive of records costs: bytes, milliseconds of a search and of a record, alone and while two streams write,
and what a kill and a torn page leave of it.

Example: bench_search.py /var/tmp/archive --records 1000000 --out search.json
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from stts_runtime.archive.entry import Entry, moment
from stts_runtime.archive.reader import Wanted, search
from stts_runtime.archive.schema import PAGE_BYTES
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.cli.entry import run_app
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

BEGIN = 1_790_000_000_000
EVERY_MS = 1600
"""Between two records: eight streams, each with an answer every 13 s."""
STREAMS = 8
BATCH = 1000
FOR_EVER = Room(days=36_500, max_bytes=1 << 40)
QUESTIONS = (
    "What is happening?", "Is a person in the yard?", "What colour is the moving vehicle?", "Is the exit blocked?",
)  # fmt: skip
COLOURS = ("white", "red", "blue", "black", "green", "silver", "yellow")
THINGS = ("van", "truck", "car", "bus", "bicycle", "person", "dog", "woman with a box", "man in a jacket", "motorcycle")
DEEDS = ("stops at", "waits near", "leaves", "drives through", "turns at", "is parked in front of", "crosses")
PLACES = ("the gate", "the loading dock", "the entrance", "the yard", "the fence", "the barrier", "the bicycle stand")
QUERIES = {
    "two words": Wanted("white van"),
    "side by side": Wanted('"white van" gate'),
    "one stream": Wanted("white van", streams=("camera-3",)),
    "without a word": Wanted("white -van -car"),
    "rare: 1 in 10,000": Wanted("forklift"),
    "a number that is there once": Wanted("tag4711"),
    "not there": Wanted("zebra"),
    "common words that are never together": Wanted('"van white" gate'),
    "alarms": Wanted("alarm raised"),
    "one day in the middle": Wanted("white van", since=moment(BEGIN + 864_000_000), until=moment(BEGIN + 950_400_000)),
    "the newest": Wanted(),
    "the newest of one stream": Wanted(streams=("camera-3",)),
}


def entry_of(number: int) -> Entry:
    """The same for the same number."""
    chance = random.Random(number)  # noqa: S311
    said = f"A {chance.choice(COLOURS)} {chance.choice(THINGS)} {chance.choice(DEEDS)} {chance.choice(PLACES)}"
    if number % 10_000 == 0:
        said += " behind a forklift"
    if number % 100 == 11:
        said += f" with tag{number}"
    record: dict[str, Any] = {
        "schema_name": "stts.stream-answer/1",
        "stream": f"camera-{number % STREAMS}",
        "number": number,
        "created": moment(BEGIN + number * EVERY_MS).isoformat(timespec="milliseconds"),
        "question": chance.choice(QUESTIONS),
        "answer": said,
        "finish": "end",
        "trigger": f"novelty {chance.random():.2f} > 0.2",
        "novelty": round(chance.random(), 4),
        "times_seconds": [number * 1.6, number * 1.6 + 7.5],
    }
    if number % 5000 == 7:
        alert = {"rule": "yes>0.8", "on": True, "change": "raised", "number": number, "probability": 0.91}
        record["alert"] = alert
    return Entry.of(record)


@app.command(help=__doc__)
def bench(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="For the archive; it is deleted in the end.")],
    records: Annotated[int, typer.Option(min=20_000)] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=3, help="Of each search.")] = 20,
    writing_seconds: Annotated[float, typer.Option(help="For which two streams write.")] = 30.0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="For the figures, as JSON.")] = Path("search.json"),
) -> None:
    folder.mkdir(parents=True)
    path = folder / "seen.db"
    try:
        content = {
            "records": records,
            "sqlite": sqlite3.sqlite_version,
            "filling": _filled(path, records),
            "bytes": _bytes(path, records),
            "search_ms": _searched(path, rounds),
            "first_search_cold_ms": _cold(path),
            "while_two_streams_write": _beside_writers(path, records, writing_seconds),
            "killed": _killed(path),
            "torn_page": _torn(path),
        }
    finally:
        shutil.rmtree(folder)
    write_measured(measured(**content), out)


def _filled(path: Path, records: int) -> dict[str, float]:
    archive, began, spent = ArchiveWriter(path, FOR_EVER, console.print), time.perf_counter(), list[float]()
    for number in range(0, records, BATCH):
        entries = [entry_of(one) for one in range(number, min(number + BATCH, records))]
        before = time.perf_counter()
        archive.add(entries)
        spent.append(time.perf_counter() - before)
    archive.close()
    return {
        "batch": BATCH,
        "records_per_second": round(records / sum(spent)),
        "slowest_batch_ms": round(max(spent) * 1000, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _bytes(path: Path, records: int) -> dict[str, float]:
    with sqlite3.connect(path) as database:
        tables = dict(database.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    database.close()
    index = sum(size for name, size in tables.items() if name.startswith("words_"))
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "records_mb": round(tables["records"] / 1e6, 1),
        "index_mb": round(index / 1e6, 1),
        "chapters": sum(name.endswith("_data") for name in tables),
        "bytes_a_record": round(path.stat().st_size / records, 1),
    }


def _searched(path: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Each opens the archive again, as a request does."""
    return {name: _timed(path, wanted, rounds) for name, wanted in QUERIES.items()}


def _timed(path: Path, wanted: Wanted, rounds: int) -> dict[str, float]:
    spent, found = [], 0
    for _ in range(rounds):
        before = time.perf_counter()
        found = len(search([path], wanted).found)
        spent.append(time.perf_counter() - before)
    return {"found": found, **_shares(spent)}


def _shares(seconds: list[float]) -> dict[str, float]:
    p50, p95, most = (float(one) * 1000 for one in (*np.percentile(seconds, (50, 95)), max(seconds)))
    return {"p50": round(p50, 2), "p95": round(p95, 2), "max": round(most, 2)}


def _cold(path: Path) -> dict[str, float]:
    """With nothing of the file in memory."""
    cold = {}
    for name, wanted in QUERIES.items():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = time.perf_counter()
        search([path], wanted)
        cold[name] = round((time.perf_counter() - before) * 1000, 1)
    return cold


def _beside_writers(path: Path, records: int, seconds: float) -> dict[str, Any]:
    """Two streams with ten records a second each, in an archive that is full: the oldest go as new ones come."""
    with _writing(path, records, path.stat().st_size) as writer:
        assert writer.stdout is not None
        # It is up, and what its limit is too low for is gone.
        first = writer.stdout.readline()
        end, spent = time.monotonic() + seconds, {name: list[float]() for name in QUERIES}
        while time.monotonic() < end:
            for name, wanted in QUERIES.items():
                before = time.perf_counter()
                search([path], wanted)
                spent[name].append(time.perf_counter() - before)
                time.sleep(0.02)
        writer.send_signal(signal.SIGTERM)
        added = [float(line.split()[1]) for line in (first, *writer.stdout)]
    return {
        "records_written": len(added),
        "write_ms": _shares(added),
        "search_ms": {name: _shares(times) for name, times in spent.items()},
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }


@contextmanager
def _writing(path: Path, begin: int, max_bytes: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "write", str(path), str(begin), str(max_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def write(path: Path, begin: int, max_bytes: int) -> None:
    """Says the number and the seconds of each record when it is kept; ends at SIGTERM."""
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    archive, number = ArchiveWriter(path, Room(36_500, max_bytes), console.print), begin
    while not stop:
        entry = entry_of(number)
        before = time.perf_counter()
        archive.add([entry])
        print(number, time.perf_counter() - before, flush=True)
        number += 1
        time.sleep(0.05)
    archive.close()


def _killed(path: Path) -> dict[str, Any]:
    """While it writes; what it said was kept has to be there."""
    begin = search([path], Wanted(limit=1)).found[0].record["number"] + 1
    with _writing(path, begin, 1 << 40) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(60)]
        writer.kill()
        said += [line for line in writer.stdout if line.endswith("\n")]
    kept = [int(line.split()[0]) for line in said]
    there = {one.record["number"] for one in search([path], Wanted(limit=len(kept) + 1)).found}
    before = time.perf_counter()
    archive = ArchiveWriter(path, FOR_EVER, console.print)
    checked = time.perf_counter() - before
    archive.close()
    return {"kept": len(kept), "lost": len(set(kept) - there), "start_after_it_s": round(checked, 2)}


def _torn(path: Path) -> dict[str, Any]:
    """Half of a page of records is of another time, and the writer was killed."""
    count = _count(path)
    with sqlite3.connect(path) as database:
        pages = database.execute("SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf'").fetchall()
    database.close()
    (page,) = pages[len(pages) // 2]
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES + PAGE_BYTES // 2)
        file.write(random.Random(1).randbytes(PAGE_BYTES // 2))  # noqa: S311
    path.with_name(f"{path.name}.lock").write_text("open  \n")
    told: list[str] = []
    before = time.perf_counter()
    ArchiveWriter(path, FOR_EVER, told.append).close()
    spent = time.perf_counter() - before
    return {"records": count, "lost": count - _count(path), "start_s": round(spent, 1), "said": told}


def _count(path: Path) -> int:
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM records").fetchone()
    database.close()
    return int(count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(run_app(app, Path(__file__).name))
