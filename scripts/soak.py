#!/usr/bin/env python3
"""Runs live video for minutes or days while its servers break; fails if memory, lag or files grow or a record is lost.

Two RTSP servers on loopback take turns to be killed and started again, and the receiver of a webhook goes away now and
then. One stream raises alarms with a picture and a clip, in a folder that holds few of them. Needs the Debian packages
of scripts/install_test_packages.

Example: soak.py out/tiny --minutes 30 --out soak.json --plot soak.png
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import psutil
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from stts_runtime.cli.entry import run_app
from stts_runtime.errors import SttsError, UserError
from stts_runtime.outputs import check_place, written_whole
from stts_tools.measured import measured, write_measured
from tests.fault_lab.server import HOW_TO_INSTALL, RtspServer, h264, is_installed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

FloatArray = NDArray[np.float64]
STREAMS = ("gate", "yard")
SAMPLE_SECONDS = 2.0
SETTLING_SHARE = 0.5
"""Share of a run that the fitted lines leave out: the first time that anything happens, servers coming back included,
the allocator takes memory which it then keeps."""
DOWN_SECONDS = 5.0
RECEIVER_AWAY_SECONDS = 20.0
CLOSE_SECONDS = 30.0
ALARM = {
    "questions": ["Is the thing on the left?"],
    "choices": ["yes", "no"],
    "alert": {"if": "yes>0.04", "clear": 0.04, "send": "all", "snapshot": "kept", "clip": "2s"},
}
ALARM_BYTES = 2_000_000
LINES = ("memory_mb", "age_ms", "files", "open_files")


@app.command(help=__doc__)
def soak(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Built with --budget frame.")],
    out: Annotated[Path, typer.Option(help="Report to write, .json.")],
    minutes: Annotated[float, typer.Option(min=10)] = 30.0,
    restart_minutes: Annotated[float, typer.Option(min=0.2, help="Between two restarts of a server.")] = 2.0,
    plot: Annotated[Optional[Path], typer.Option(help="Picture to write, .png.")] = None,
) -> None:
    check_place(out, [".json"])
    if plot is not None:
        check_place(plot, [".png"])
    if not is_installed():
        raise UserError(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory(prefix="stts-soak-") as folder:
        run = Soak(bundle, Path(folder), minutes, restart_minutes)
        run.run()
        report = measured(**run.report())
    write_measured(report, out)
    if plot is not None:
        draw(run.samples, report, plot)
    show(report)
    if report["failures"]:
        raise SttsError("; ".join(report["failures"]))


@dataclass
class Samples:
    """By moment, in minutes since the start."""

    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    age_ms: list[tuple[float, float]] = field(default_factory=list)
    """Of each answer: of its newest frame at its last token."""
    files: list[tuple[float, float]] = field(default_factory=list)
    """In the folder of the state: spools, pictures and clips of alarms."""
    open_files: list[tuple[float, float]] = field(default_factory=list)
    """Of the process: files, sockets and pipes."""
    restarts: list[float] = field(default_factory=list)


class Receiver:
    """Takes records by POST, and is away now and then."""

    def __init__(self) -> None:
        self.numbers: dict[str, set[int]] = defaultdict(set)
        self.port = 0
        self._open()

    def _open(self) -> None:
        numbers = self.numbers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if "age_ms" in record:
                    numbers[record["stream"]].add(record["number"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def go_away(self, seconds: float) -> None:
        self._server.shutdown()
        self._server.server_close()
        threading.Timer(seconds, self._open).start()


class Soak:
    """One run."""

    def __init__(self, bundle: Path, folder: Path, minutes: float, restart_minutes: float) -> None:
        self._bundle, self._folder, self._minutes = bundle, folder, minutes
        self._restart_minutes = restart_minutes
        self.samples, self._receiver = Samples(), Receiver()
        self._servers = {name: RtspServer(h264(320, 240)) for name in STREAMS}
        self._answers, self._code = folder / "answers.jsonl", 0

    def run(self) -> None:
        child = subprocess.Popen([*_command(), "--config", str(self._config())], stdout=subprocess.DEVNULL)
        try:
            self._watch(psutil.Process(child.pid))
            child.send_signal(signal.SIGTERM)
            self._code = child.wait(CLOSE_SECONDS)
        finally:
            child.kill()
            for server in self._servers.values():
                server.kill()

    def _config(self) -> Path:
        streams: list[dict[str, Any]] = [{"name": name, "source": server.url} for name, server in self._servers.items()]
        streams[0] |= ALARM
        content = {
            "bundle": str(self._bundle),
            "state": str(self._folder),
            "questions": ["What moves?", "Where is it?"],
            "when": "novelty>0.05",
            "shortest_pause": 5,
            "longest_pause": 30,
            "max_tokens": 8,
            "sinks": [{"to": str(self._answers)}, {"to": f"http://127.0.0.1:{self._receiver.port}/answers"}],
            "alert_files": {"folder": str(self._folder / "alerts"), "max_bytes": ALARM_BYTES},
            "streams": streams,
        }
        path = self._folder / "cameras.yaml"
        # JSON is YAML too.
        path.write_text(json.dumps(content))
        return path

    def _watch(self, child: psutil.Process) -> None:
        started, turn = time.monotonic(), 0
        while (passed := (time.monotonic() - started) / 60) < self._minutes:
            if child.status() == psutil.STATUS_ZOMBIE:
                raise SttsError(f"the program ended by itself after {passed:.1f} minutes")
            self.samples.memory_mb.append((passed, child.memory_info().rss / 1e6))
            self.samples.files.append((passed, sum(path.is_file() for path in self._folder.rglob("*"))))
            self.samples.open_files.append((passed, child.num_fds()))
            if passed > (turn + 1) * self._restart_minutes:
                turn += 1
                self._restart(STREAMS[turn % len(STREAMS)], passed)
                if turn % 3 == 0:
                    self._receiver.go_away(RECEIVER_AWAY_SECONDS)
            console.print(f"{passed:6.1f} minutes, {self.samples.memory_mb[-1][1]:.0f} MB", end="\r")
            time.sleep(SAMPLE_SECONDS)
        # A receiver that is away at the end would only show that the spool waits for the next start.
        time.sleep(RECEIVER_AWAY_SECONDS if turn % 3 == 0 else 0)

    def _restart(self, name: str, passed: float) -> None:
        self.samples.restarts.append(passed)
        port = self._servers[name].port
        self._servers[name].kill()
        time.sleep(DOWN_SECONDS)
        self._servers[name] = RtspServer(h264(320, 240), port=port)

    def report(self) -> dict[str, Any]:
        records = [json.loads(line) for line in self._answers.read_text().splitlines()]
        answers = [record for record in records if "age_ms" in record]
        first = min(datetime.fromisoformat(record["created"]) for record in records)
        for record in answers:
            moment = (datetime.fromisoformat(record["created"]) - first).total_seconds() / 60
            self.samples.age_ms.append((moment, record["age_ms"]["at_last_token"]))
        lines = {name: line(getattr(self.samples, name), self._minutes) for name in LINES}
        lost = self._lost(answers)
        failures = [f"{name} grows: {one['per_hour']:g} an hour" for name, one in lines.items() if one["grows"]]
        failures += [f"{sum(lost.values())} records were lost"] if any(lost.values()) else []
        failures += [f"the program ended with exit code {self._code}"] if self._code else []
        return {
            "minutes": self._minutes,
            "streams": len(STREAMS),
            "restarts": len(self.samples.restarts),
            "answers": {name: sum(one["stream"] == name for one in answers) for name in STREAMS},
            "reconnections": {
                name: sum(one["stream"] == name and one.get("state") == "reconnecting" for one in records)
                for name in STREAMS
            },
            "alarms": sum((one.get("alert") or {}).get("change") == "raised" for one in answers),
            "alarm_files_bytes": sum(path.stat().st_size for path in (self._folder / "alerts").rglob("*.*")),
            "lost": lost,
            "lines": lines,
            "failures": failures,
        }

    def _lost(self, answers: list[dict[str, Any]]) -> dict[str, int]:
        """Numbers that are missing in the file, or at the receiver."""
        lost = {}
        for name in STREAMS:
            numbers = {one["number"] for one in answers if one["stream"] == name}
            lost[f"{name}, file"] = max(numbers, default=0) - len(numbers)
            lost[f"{name}, webhook"] = len(numbers - self._receiver.numbers[name])
        return lost


def _command() -> list[str]:
    return [sys.executable, "-c", "from stts_runtime.cli import main; main()", "stream"]


def line(samples: list[tuple[float, float]], minutes_in_all: float) -> dict[str, Any]:
    """A line through the medians of each minute after the settling, with the slope's 95 % interval, by the hour.

    It grows if the interval is above zero.
    """
    minutes, medians = by_minute(samples, minutes_in_all)
    slope, start = np.polyfit(minutes, medians, 1)
    rest = medians - (start + slope * minutes)
    freedom = len(minutes) - 2
    error = np.sqrt((rest**2).sum() / freedom / ((minutes - minutes.mean()) ** 2).sum())
    low, high = (60 * (slope + sign * student_95(freedom) * error) for sign in (-1, 1))
    return {
        "by_minute": {int(minute): round(float(value), 2) for minute, value in zip(minutes, medians, strict=True)},
        "median": round(float(np.median(medians)), 2),
        "per_hour": round(float(60 * slope), 3),
        "per_hour_from": round(float(low), 3),
        "per_hour_to": round(float(high), 3),
        "grows": bool(low > 0),
    }


def by_minute(samples: list[tuple[float, float]], minutes_in_all: float) -> tuple[FloatArray, FloatArray]:
    """The minutes after the settling that have samples, and the median of each."""
    values = defaultdict(list)
    for moment, value in samples:
        if moment >= SETTLING_SHARE * minutes_in_all:
            values[int(moment)].append(value)
    if len(values) < 4:
        raise SttsError("there were samples in too few minutes for a line")
    minutes = sorted(values)
    return np.array(minutes, dtype=float), np.array([np.median(values[minute]) for minute in minutes])


def student_95(freedom: int) -> float:
    """Student's t for a two-sided 95 % interval, from Cornish and Fisher's expansion; 0.02 off at 3 degrees."""
    z = 1.959964
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def draw(samples: Samples, report: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, name, label in zip(figure.subplots(1, 2), ("memory_mb", "age_ms"), ("MB resident", "ms"), strict=True):
        axes.plot(*zip(*getattr(samples, name), strict=True), "." if name == "age_ms" else "-", markersize=3)
        for moment in samples.restarts:
            axes.axvline(moment, color="grey", linewidth=0.5)
        axes.set_xlabel("minutes; grey: a server is killed")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        one = report["lines"][name]
        title = "memory" if name == "memory_mb" else "age of the newest frame at the last token"
        slope = f"{one['per_hour']:+.1f} an hour (95 %: {one['per_hour_from']:+.1f} to {one['per_hour_to']:+.1f})"
        axes.set_title(f"{title}\n{slope}", fontsize=9)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


def show(report: dict[str, Any]) -> None:
    table = Table("", "median", "slope an hour", "95 %", "")
    for name, one in report["lines"].items():
        interval = f"{one['per_hour_from']:+g} to {one['per_hour_to']:+g}"
        table.add_row(
            name, f"{one['median']:g}", f"{one['per_hour']:+g}", interval, "grows" if one["grows"] else "flat"
        )
    console.print(table)
    console.print(f"{report['restarts']} restarts, answers {report['answers']}, lost {report['lost']}")


if __name__ == "__main__":
    sys.exit(run_app(app, "soak.py"))
