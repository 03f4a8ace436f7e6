"""`stts-runtime bench`: pruned and unpruned side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import Progress
from rich.table import Table

from stts_runtime.bench import Benchmark, Report, Row, write_plot
from stts_runtime.bench.report import SpeedUp, Spread, throttling
from stts_runtime.bundle import Bundle
from stts_runtime.cli.help import OUTPUT
from stts_runtime.cli.options import BundleArgument, DeviceOption, EngineOption
from stts_runtime.cli.show import console, errors, show_note
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.engines import choose_engine
from stts_runtime.errors import MissingExtraError, UserError
from stts_runtime.outputs import check_output
from stts_runtime.video import VideoFile, check_source


def bench_command(
    bundle: BundleArgument,
    source: Annotated[
        Optional[str], typer.Argument(metavar="SOURCE", help="Video file.", show_default="a synthetic clip")
    ] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measured rounds over all variants.")] = 20,
    within_ms: Annotated[
        Optional[float], typer.Option(min=0.001, help="Recommend a variant that answers within this many milliseconds.")
    ] = None,
    plot: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Write a plot, .png.", show_default="stts-bench.png", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the JSON line: no table, no plot.")] = False,
) -> None:
    """Time every variant of a bundle; the last line of output is the whole report as JSON."""
    select_gpu(gpu_of(device))
    if source is not None:
        check_source(source)
    if plot is None and not as_json:
        plot = Path("stts-bench.png")
    if plot is not None:
        check_output(plot, (".png",), source, bundle)
    opened, video = Bundle.open(bundle), VideoFile(source) if source else None
    choice = choose_engine(opened, engine, device)
    for note in choice.notes:
        show_note(note)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("measuring", total=rounds)
        benchmark = Benchmark(opened, video, choice.name, rounds)
        report = benchmark.run(within_ms, on_round=lambda: progress.advance(task))
    for note in benchmark.notes:
        show_note(note)
    if not as_json:
        _show(report)
    failure = None if plot is None else _plot(plot, report, quiet=as_json)
    print(report.model_dump_json(), flush=True)
    if failure is not None:
        raise failure


def _plot(path: Path, report: Report, quiet: bool) -> UserError | None:
    """Returns why there is no picture: the numbers come first, whatever becomes of it."""
    title = f"{Path(report.source).name}, {report.machine.processor}, {report.machine.cores} cores"
    try:
        write_plot(path, report.rows, title)
    except MissingExtraError as error:
        show_note(f"no picture: {error}")
    except UserError as error:
        return error
    else:
        if not quiet:
            console.print(f"plot: {path}", soft_wrap=True)
    return None


def _engine(report: Report) -> str:
    if report.engine == "cpu":
        return f"onnxruntime {report.machine.onnxruntime}"
    return f"{report.machine.gpu}, driver {report.machine.driver}, {report.engine}"


def _show(report: Report) -> None:
    console.print(
        f"{report.source}; {report.machine.processor}, {report.machine.cores} cores, {_engine(report)}; "
        f"{report.rounds} rounds, p50 / p95 in ms; {report.resident_mb:.0f} MB resident "
        "with all variants loaded",
        soft_wrap=True,
    )
    table = Table("variant", "tokens", "vision", "prefill", "decode/token", "total", "MB")
    for title in ("vision speed-up", "vision + prefill"):
        table.add_column(f"{title}\n(predicted)")
    if report.power_source:
        table.add_column("J/answer")
    for row in report.rows:
        table.add_row(*_cells(row), *([_joules(row)] if report.power_source else []))
    console.print(table)
    _show_power(report)
    console.print(report.advice, soft_wrap=True)


def _show_power(report: Report) -> None:
    if report.power_source:
        console.print(f"energy: {report.power_source}", markup=False, soft_wrap=True)
    if held := throttling(report.rows):
        console.print(f"note: {held}", markup=False, soft_wrap=True)


def _joules(row: Row) -> str:
    return "-" if row.energy_joules is None else f"{row.energy_joules:.3g}"


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
