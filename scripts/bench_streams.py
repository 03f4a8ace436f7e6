#!/usr/bin/env python3
"""How many live streams one machine watches: ages of frames and answers, and looks missed, over the number of streams.

Each stream plays VIDEO again and again in real time, decoded as a camera's stream is; no network is in between. Every
stream has its looks at the rate that the checkpoint was trained on, and an answer every so many seconds.

Example: bench_streams.py out/live street.mp4 --out streams.json
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stts_runtime import clock
from stts_runtime.bundle import Bundle
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument, EngineOption
from stts_runtime.engines import choose_engine, load_incremental, load_language
from stts_runtime.outputs import check_place
from stts_runtime.records import Record, StreamAnswer
from stts_runtime.sources import open_source
from stts_runtime.stream.channel import LATE, Channel, Gate, Look, Orders
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Engines, KeyRule, Watcher
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

QUESTION = "What moves?"
MAX_TOKENS = 8
LATE_PERCENT = 1.0
ANSWERED_PERCENT = 90.0
"""A machine keeps up with so many streams if no more of their looks are missed than the first, and each has no fewer
answers than the second, of what it has alone.
"""


@dataclass
class Ages:
    """Milliseconds since the frame was there; a listener of the pipeline."""

    looked: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    last_token: list[float] = field(default_factory=list)
    late: int = 0
    counting: bool = False

    def saw(self, _: Channel, look: Look) -> None:
        if self.counting:
            self.looked.append(1000 * (clock.now() - look.frame.captured))

    def said(self, record: Record) -> None:
        if self.counting and isinstance(record, StreamAnswer):
            self.first_token.append(record.age_ms.at_first_token)
            self.last_token.append(record.age_ms.at_last_token)
            self.late += record.dropped.get(LATE, 0)


@app.command(help=__doc__)
def bench(
    bundle: BundleArgument,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    streams: Annotated[Optional[list[int]], typer.Option(min=1, help="Default: 1 2 4 8 16.")] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two answers of a stream.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=5, help="Measured for each number of streams.")] = 30.0,
    engine: EngineOption = None,
) -> None:
    check_place(out, [".json"])
    opened = Bundle.open(bundle)
    engines = _engines(opened, engine)
    rows = [
        measure(engines, video, number, every, seconds)
        for number in track(streams or [1, 2, 4, 8, 16], "streams", console=console)
    ]
    write_measured(measured(answer_every_seconds=every, measured_seconds=seconds, streams=rows), out)
    show(rows)


def _engines(bundle: Bundle, engine: Any) -> Engines:
    choice = choose_engine(bundle, engine).name
    vision = load_incremental(bundle, bundle.manifest.default_keep, choice)
    return Engines.of(bundle, vision, load_language(bundle, choice))


def measure(engines: Engines, video: Path, number: int, every: float, seconds: float) -> dict[str, float]:
    """Beginning when all windows are full, for so many seconds."""
    manifest, ages = engines.bundle.manifest, Ages()
    assert manifest.live is not None
    frames, rate = manifest.live.frames, manifest.max_fps
    keys = KeyRule(every=frames, at_least=manifest.live.key_every, jump=manifest.live.novelty.jump)
    orders = Orders([QUESTION], Gate(shortest_pause=every), MAX_TOKENS, rate)
    channels = [
        Channel(f"stream-{one}", open_source(f"loop:{video}"), Watcher(engines, frames, keys), orders)
        for one in range(number)
    ]
    stop, filling = threading.Event(), frames / rate + 2 * every
    process = psutil.Process()

    def conduct() -> None:
        time.sleep(filling)
        ages.counting, used, began = True, sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        ages.counting = False
        cores.append((sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began))
        stop.set()

    cores: list[float] = []
    threading.Thread(target=conduct, daemon=True).start()
    Pipeline(channels, Events(), [ages]).run(stop)
    return {
        "streams": number,
        "looks_per_second": round(len(ages.looked) / seconds, 2),
        "answers_per_second": round(len(ages.last_token) / seconds, 2),
        "late_percent": round(100 * ages.late / max(1, ages.late + len(ages.looked)), 2),
        "cores": round(cores[0], 2),
        **_percentiles("looked", ages.looked),
        **_percentiles("first_token", ages.first_token),
        **_percentiles("last_token", ages.last_token),
    }


def _percentiles(name: str, milliseconds: list[float]) -> dict[str, float]:
    return {f"{name}_ms_p{share}": round(float(np.percentile(milliseconds, share)), 1) for share in (50, 95)}


def show(rows: list[dict[str, float]]) -> None:
    table = Table("streams", "looks/s", "answers/s", "looks missed", "cores", "looked at after", "first token", "last")
    for row in rows:
        ages = (
            f"{row[f'{name}_ms_p50']:.0f} / {row[f'{name}_ms_p95']:.0f}"
            for name in ("looked", "first_token", "last_token")
        )
        counts = (f"{row['looks_per_second']:.1f}", f"{row['answers_per_second']:.1f}", f"{row['late_percent']:.1f} %")
        table.add_row(str(row["streams"]), *counts, f"{row['cores']:.1f}", *ages)
    console.print(table)
    enough = [int(row["streams"]) for row in rows if _keeps_up(row, alone=rows[0])]
    console.print(f"ages in ms since arrival, p50 / p95; kept up with: {max(enough, default=0)} streams")


def _keeps_up(row: dict[str, float], alone: dict[str, float]) -> bool:
    each, wanted = (one["answers_per_second"] / one["streams"] for one in (row, alone))
    return row["late_percent"] <= LATE_PERCENT and 100 * each >= ANSWERED_PERCENT * wanted


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_streams.py"))
