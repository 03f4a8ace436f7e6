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
from stts_runtime.stream.channel import LATE, Channel, Look
from stts_runtime.stream.orders import Gate, Orders
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Engines, KeyRule, Watcher
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

QUESTION = "What moves?"
MAX_TOKENS = 8
_SHARES = (50, 95)
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


Row = dict[str, Optional[float]]
"""None for ages of what did not happen: a machine with too many streams may give no answer in time."""


def measure(engines: Engines, video: Path, number: int, every: float, seconds: float) -> Row:
    """Beginning when all windows should be full, for so many seconds."""
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
    return report_of(ages, number, seconds, cores[0])


def report_of(ages: Ages, number: int, seconds: float, cores: float) -> Row:
    """What so many streams came to in so many seconds, with so many cores busy."""
    return {
        "streams": number,
        "looks_per_second": round(len(ages.looked) / seconds, 2),
        "answers_per_second": round(len(ages.last_token) / seconds, 2),
        "late_percent": _late_percent(ages),
        "cores": round(cores, 2),
        **_percentiles("looked", ages.looked),
        **_percentiles("first_token", ages.first_token),
        **_percentiles("last_token", ages.last_token),
    }


def _late_percent(ages: Ages) -> float | None:
    """Answers say what was missed since the one before; without any nobody knows."""
    return round(100 * ages.late / (ages.late + len(ages.looked)), 2) if ages.last_token else None


def _percentiles(name: str, milliseconds: list[float]) -> Row:
    ages = np.percentile(milliseconds, _SHARES).tolist() if milliseconds else [None] * len(_SHARES)
    return {
        f"{name}_ms_p{share}": None if age is None else round(age, 1) for share, age in zip(_SHARES, ages, strict=True)
    }


def show(rows: list[Row]) -> None:
    table = Table("streams", "looks/s", "answers/s", "looks missed", "cores", "looked at after", "first token", "last")
    for row in rows:
        ages = (
            " / ".join(_shown(row[f"{name}_ms_p{share}"]) for share in _SHARES)
            for name in ("looked", "first_token", "last_token")
        )
        late = row["late_percent"]
        missed = "-" if late is None else f"{late:.1f} %"
        counts = (f"{row['looks_per_second']:.1f}", f"{row['answers_per_second']:.1f}", missed)
        table.add_row(str(row["streams"]), *counts, f"{row['cores']:.1f}", *ages)
    console.print(table)
    enough = [int(row["streams"] or 0) for row in rows if _keeps_up(row, alone=rows[0])]
    console.print(f"ages in ms since arrival, p50 / p95; kept up with: {max(enough, default=0)} streams")


def _shown(age: float | None) -> str:
    return "-" if age is None else f"{age:.0f}"


def _keeps_up(row: Row, alone: Row) -> bool:
    """Never where nothing was answered."""
    each, wanted = ((one["answers_per_second"] or 0) / (one["streams"] or 1) for one in (row, alone))
    late = row["late_percent"]
    return late is not None and late <= LATE_PERCENT and 100 * each >= ANSWERED_PERCENT * wanted


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_streams.py"))
