"""`stts-runtime bench`: pruned and unpruned side by side."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import Progress
from rich.table import Table

from stts_runtime.bench import (
    Report,
    Row,
    advice,
    default_within_ms,
    machine,
    measure,
    rows_of,
    synthetic_window,
    write_plot,
)
from stts_runtime.bench.measure import ANSWER_TOKENS, Samples, resident_mb
from stts_runtime.bench.report import SpeedUp, Spread
from stts_runtime.bundle import Bundle
from stts_runtime.cli.options import BundleArgument
from stts_runtime.cli.show import console, errors
from stts_runtime.errors import MissingExtraError
from stts_runtime.outputs import check_output
from stts_runtime.video import VideoFile, Window, check_source, window_of_file


def bench_command(
    bundle: BundleArgument,
    source: Annotated[Optional[str], typer.Argument(help="Video file; default: a synthetic clip.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measured rounds over all variants.")] = 20,
    within_ms: Annotated[Optional[float], typer.Option(min=0.001, help="Latency budget to advise on.")] = None,
    plot: Annotated[Optional[Path], typer.Option(help="Picture, .png. Default: stts-bench.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line: no table, no picture.")] = False,
) -> None:
    """Times every variant of a bundle; the last line is the whole report as JSON."""
    if source is not None:
        check_source(source)
    if plot is None and not as_json:
        plot = Path("stts-bench.png")
    if plot is not None:
        check_output(plot, (".png",), source, bundle)
    opened = Bundle.open(bundle)
    video = VideoFile(source) if source else None
    samples = _measured(opened, video, rounds)
    rows = rows_of(opened, samples)
    budget_ms = default_within_ms(rows) if within_ms is None else within_ms
    report = Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        bundle=str(bundle),
        source=video.name if video else "synthetic clip",
        rounds=rounds,
        answer_tokens=ANSWER_TOKENS,
        machine=machine(),
        resident_mb=round(resident_mb(), 1),
        rows=rows,
        within_ms=budget_ms,
        advice=advice(rows, budget_ms),
    )
    if not as_json:
        _show(report)
    if plot is not None:
        _plot(plot, report, quiet=as_json)
    print(report.model_dump_json(), flush=True)


def _measured(bundle: Bundle, video: VideoFile | None, rounds: int) -> dict[str, Samples]:
    def window_of(frames: int) -> Window:
        manifest = bundle.manifest
        if video is None:
            return synthetic_window(frames, manifest.vision.image_size)
        return window_of_file(video, frames, manifest.max_fps, manifest.vision.image_size)

    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("measuring", total=rounds)
        return measure(bundle, window_of, rounds, on_round=lambda: progress.advance(task))


def _plot(path: Path, report: Report, quiet: bool) -> None:
    title = f"{Path(report.source).name}, {report.machine.processor}, {report.machine.cores} cores"
    try:
        write_plot(path, report.rows, title)
    except (MissingExtraError, OSError) as error:
        errors.print(f"note: no picture: {error}", markup=False, soft_wrap=True)
        return
    if not quiet:
        console.print(f"plot: {path}", soft_wrap=True)


def _show(report: Report) -> None:
    console.print(
        f"{report.source}; {report.machine.processor}, {report.machine.cores} cores, onnxruntime "
        f"{report.machine.onnxruntime}; {report.rounds} rounds, p50 / p95 in ms; {report.resident_mb:.0f} MB resident "
        "with all variants loaded",
        soft_wrap=True,
    )
    table = Table("variant", "tokens", "vision", "prefill", "decode/token", "total", "MB")
    for title in ("vision speed-up", "vision + prefill"):
        table.add_column(f"{title}\n(predicted)")
    for row in report.rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print(report.advice, soft_wrap=True)


def _cells(row: Row) -> list[str]:
    return [
        row.variant,
        f"{row.visual_kept} of {row.visual_in}",
        _spread(row.vision_ms),
        _spread(row.prefill_ms),
        _spread(row.decode_ms_per_token, 2),
        _spread(row.total_ms),
        f"{row.loaded_mb:.0f}",
        _speed_up(row.vision_speed_up),
        _speed_up(row.vision_and_prefill_speed_up),
    ]


def _spread(spread: Spread | None, digits: int = 1) -> str:
    return "-" if spread is None else f"{spread.p50:.{digits}f} / {spread.p95:.{digits}f}"


def _speed_up(speed_up: SpeedUp | None) -> str:
    return "-" if speed_up is None else f"{speed_up.measured:.2f}x ({speed_up.predicted:.2f}x)"
