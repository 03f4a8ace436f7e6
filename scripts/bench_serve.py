#!/usr/bin/env python3
"""What clients cost the streams: ages of frames and looks missed, without clients and then with many, in one run.

Starts `stts-runtime serve` with streams that play VIDEO, measures, lets the clients in, and measures again. A quarter
each of the clients follow the events, fetch pictures, ask streams, and ask about the clip; those who are told that too
many ask wait as long as they are told. One more client asks for the events and reads nothing.

Example: bench_serve.py out/live street.mp4 --out serve.json
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import requests
import typer
from rich.console import Console
from rich.table import Table

from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.outputs import check_place
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

QUESTION = "What moves?"
PICTURE_PAUSE_SECONDS = 0.5
QUESTION_PAUSE_SECONDS = 2.0


@dataclass
class Load:
    """What the clients of one measurement saw."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    events: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def counted(self, kind: str, send: Callable[[], requests.Response]) -> None:
        """One request; waits if it is told to come back later."""
        began = time.monotonic()
        reply = send()
        with self.lock:
            self.statuses[kind, reply.status_code] += 1
            if reply.ok:
                self.seconds.setdefault(kind, []).append(time.monotonic() - began)
        if reply.status_code in (429, 503):
            self.stop.wait(float(reply.headers["Retry-After"]))


@app.command(help=__doc__)
def bench(
    bundle: BundleArgument,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    streams: Annotated[int, typer.Option(min=1)] = 4,
    clients: Annotated[int, typer.Option(min=4)] = 50,
    seconds: Annotated[float, typer.Option(min=2, help="Measured without and with the clients, each.")] = 60.0,
) -> None:
    check_place(out, [".json"])
    with _served(bundle, video, streams) as (address, process):
        _wait_for_windows(address, streams)
        alone = _measured(address, process, Load(), seconds)
        with _loaded(address, video, streams, clients) as load:
            loaded = _measured(address, process, load, seconds)
    content = measured(streams=streams, clients=clients, measured_seconds=seconds, alone=alone, loaded=loaded)
    write_measured(content, out)
    show(alone, loaded)


@contextmanager
def _served(bundle: Path, video: Path, streams: int) -> Iterator[tuple[str, psutil.Process]]:
    program = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "serve", str(bundle)]
    asking = ["--ask", QUESTION, "--shortest-pause", "2s", "--listen", "127.0.0.1:0"]
    command = [*program, *[f"loop:{video}"] * streams, *asking]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            found = next(found for line in server.stderr if (found := re.search(r"page: (\S+)/ ", line)))
            yield found[1], psutil.Process(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)


def _wait_for_windows(address: str, streams: int) -> None:
    while True:
        state = requests.get(f"{address}/api/state", timeout=30).json()
        if sum(bool(one["answers"]) for one in state["streams"]) == streams:
            return
        time.sleep(0.5)


def _measured(address: str, process: psutil.Process, load: Load, seconds: float) -> dict[str, Any]:
    """By one more client that follows the events, for so long."""
    lags: list[float] = []
    ages: list[float] = []
    late = 0
    used, began = sum(process.cpu_times()[:2]), time.monotonic()
    with requests.get(f"{address}/api/events", stream=True, timeout=30) as events:
        lines = events.iter_lines(decode_unicode=True)
        for line in lines:
            if line == "event: look":
                lags.append(json.loads(next(lines)[6:])["lag_ms"])
            elif line == "event: answer":
                answer = json.loads(next(lines)[6:])
                ages.append(answer["age_ms"]["at_last_token"])
                late += answer["dropped"].get("late", 0)
            if time.monotonic() - began > seconds:
                break
    spent = time.monotonic() - began
    return {
        "looks_per_second": round(len(lags) / spent, 2),
        "answers_per_second": round(len(ages) / spent, 2),
        "late_percent": round(100 * late / max(1, late + len(lags)), 2),
        "cores": round((sum(process.cpu_times()[:2]) - used) / spent, 2),
        "resident_mb": round(process.memory_info().rss / 1e6),
        **_percentiles("lag", lags),
        **_percentiles("last_token", ages),
        "requests": _requests(load, spent),
        "events_per_second": round(load.events / spent, 1),
    }


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_ms_p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95, 100)}


def _requests(load: Load, seconds: float) -> dict[str, Any]:
    with load.lock:
        kinds = sorted({kind for kind, _ in load.statuses})
        return {
            kind: {
                "per_second": round(sum(n for (one, _), n in load.statuses.items() if one == kind) / seconds, 1),
                "statuses": {str(status): n for (one, status), n in load.statuses.items() if one == kind},
                "ok_ms_p50": round(float(np.median(load.seconds.get(kind, [0.0]))) * 1000, 1),
            }
            for kind in kinds
        }


@contextmanager
def _loaded(address: str, video: Path, streams: int, clients: int) -> Iterator[Load]:
    load = Load()
    with video.open("rb") as content:
        file = requests.post(f"{address}/v1/files", files={"file": content}, timeout=60).json()["id"]
    kinds: list[Callable[[Load, str, str], None]] = [_follow, _look, _ask_stream, partial(_ask_clip, file=file)]
    threads = [
        threading.Thread(target=kinds[number % 4], args=(load, address, f"stream-{number // 4 % streams + 1}"))
        for number in range(clients)
    ]
    with _deaf(address):
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load.stop.set()
            for thread in threads:
                thread.join()


@contextmanager
def _deaf(address: str) -> Iterator[None]:
    """A client that asks for the events and reads none."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET /api/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        yield


def _follow(load: Load, address: str, _: str) -> None:
    with requests.get(f"{address}/api/events", stream=True, timeout=30) as events:
        for line in events.iter_lines():
            load.events += line.startswith(b"event: ")
            if load.stop.is_set():
                return


def _look(load: Load, address: str, stream: str) -> None:
    with requests.Session() as session:
        while not load.stop.wait(PICTURE_PAUSE_SECONDS):
            load.counted("picture", lambda: session.get(f"{address}/api/streams/{stream}/picture", timeout=30))


def _ask_stream(load: Load, address: str, stream: str) -> None:
    body = {"question": QUESTION, "stream": stream, "max_tokens": 8}
    with requests.Session() as session:
        while not load.stop.wait(QUESTION_PAUSE_SECONDS):
            load.counted("question about a stream", lambda: session.post(f"{address}/api/ask", json=body, timeout=60))


def _ask_clip(load: Load, address: str, _: str, file: str) -> None:
    body = {"question": QUESTION, "file_id": file, "max_tokens": 8}
    with requests.Session() as session:
        while not load.stop.wait(QUESTION_PAUSE_SECONDS):
            load.counted("question about a clip", lambda: session.post(f"{address}/api/ask", json=body, timeout=60))


def show(alone: dict[str, Any], loaded: dict[str, Any]) -> None:
    table = Table(
        "", "looks/s", "answers/s", "looks missed", "looked at after, ms", "last token after, ms", "cores", "MB"
    )
    for name, row in (("alone", alone), ("with clients", loaded)):
        ages = (
            " / ".join(f"{row[f'{kind}_ms_p{share}']:.0f}" for share in (50, 95, 100)) for kind in ("lag", "last_token")
        )
        counts = f"{row['looks_per_second']:.1f}", f"{row['answers_per_second']:.1f}", f"{row['late_percent']:.1f} %"
        table.add_row(name, *counts, *ages, f"{row['cores']:.1f}", str(row["resident_mb"]))
    console.print(table)
    for kind, row in loaded["requests"].items():
        console.print(f"{kind}: {row['per_second']} a second, {row['ok_ms_p50']} ms, statuses {row['statuses']}")
    console.print(
        f"events handed out: {loaded['events_per_second']} a second; ages are median / 95th percentile / most"
    )


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_serve.py"))
