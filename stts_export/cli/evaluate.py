"""`stts-export evaluate`: how many questions about synthetic clips a bundle answers right."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from stts_runtime.cli.options import BundleArgument
from stts_runtime.outputs import check_output, written_whole

# Clips between two lines of progress where there is no terminal to show a bar on.
_LINE_EVERY = 100

if TYPE_CHECKING:
    from rich.table import Table

    from stts_calib.accuracy import AccuracyReport, Evaluation


def evaluate_command(
    bundle: BundleArgument,
    clips: Annotated[int, typer.Option(min=2, help="Test clips.")] = 1000,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each clip.")] = 4,
    setting: Annotated[
        Optional[list[str]],
        typer.Option(help="A variant, or random-... or even-... of a control; repeatable. Default: all."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Report to write, .json.")] = None,
    plot: Annotated[Optional[Path], typer.Option(help="Picture of accuracy over latency, .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
) -> None:
    """Measures accuracy on synthetic clips with exact answers: every variant, and controls that spend the same tokens.

    It means something for checkpoints that were trained on such clips, as checkpoints/tiny is.
    """
    from stts_calib.accuracy import Evaluation, report_of, settings_of
    from stts_calib.clips import Split
    from stts_runtime.bundle import Bundle

    _check_places(out, plot, bundle)
    opened = Bundle.open(bundle)
    evaluation = Evaluation(opened, settings_of(opened, setting or []), clips, questions, Split.test)
    minutes = _run(evaluation)
    report = report_of(evaluation, datetime.now(timezone.utc).isoformat(timespec="seconds"), minutes)
    written = _write(report, out, plot)
    if as_json:
        print(report.model_dump_json(), flush=True)
    else:
        _show(report, written)


def _check_places(out: Path | None, plot: Path | None, bundle: Path) -> None:
    """Refuses what could not be written, before the minutes are spent."""
    from stts_calib.accuracy import check_plot_library

    if out is not None:
        check_output(out, (".json",), None, bundle)
    if plot is not None:
        check_output(plot, (".png",), None, bundle)
        check_plot_library()


def _write(report: AccuracyReport, out: Path | None, plot: Path | None) -> list[Path]:
    from stts_calib.accuracy import write_accuracy_plot

    if out is not None:
        with written_whole(out) as scratch:
            scratch.write_text(report.model_dump_json(indent=1) + "\n")
    if plot is not None:
        write_accuracy_plot(plot, report)
    return [path for path in (out, plot) if path is not None]


def _run(evaluation: Evaluation) -> float:
    """Minutes that it took."""
    from rich.progress import Progress

    from stts_runtime.cli.show import errors

    started = time.perf_counter()
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("asking", total=evaluation.clips)

        def on_clip(done: int) -> None:
            progress.advance(task)
            if not errors.is_terminal and done % _LINE_EVERY == 0:
                errors.print(f"{done} of {evaluation.clips} clips, {time.perf_counter() - started:.0f} s")

        evaluation.run(on_clip)
    return (time.perf_counter() - started) / 60


def _show(report: AccuracyReport, written: list[Path]) -> None:
    from stts_runtime.cli.show import console
    from stts_runtime.session import NOISE

    console.print(
        f"{report.clips} {report.split} clips, {report.questions} questions; accuracy in percent with 95 % intervals; "
        f"{report.machine.processor}, {report.machine.cores} cores, {report.minutes:.1f} minutes",
        soft_wrap=True,
    )
    if report.random_weights:
        console.print(f"note: {NOISE}")
    console.print(_by_setting(report))
    console.print(_by_kind(report))
    for found in report.differences:
        points, scope = found.points, "" if found.questions == "all" else " on questions that need time"
        console.print(
            f"{found.setting} against {found.against}{scope}: {points.value:+.2f} points "
            f"({points.low:+.2f} to {points.high:+.2f})",
            soft_wrap=True,
        )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _by_setting(report: AccuracyReport) -> Table:
    from rich.table import Table

    table = Table("setting", "tokens", "accuracy", "needs time", "kept of moving / others", "vision ms", "clip ms")
    for one in report.settings:
        timed = "-" if one.needs_time is None else f"{one.needs_time.value:.1f}"
        accuracy = f"{one.accuracy.value:.1f} ({one.accuracy.low:.1f} to {one.accuracy.high:.1f})"
        kept = "-" if one.kept_of_moving is None else f"{one.kept_of_moving:.1f} / {one.kept_of_others:.1f}"
        milliseconds = f"{one.vision_ms:.1f}", f"{one.clip_ms:.1f}"
        table.add_row(one.setting, str(one.visual_tokens), accuracy, timed, kept, *milliseconds)
    return table


def _by_kind(report: AccuracyReport) -> Table:
    from rich.table import Table

    table = Table("by kind", *(kind.kind for kind in report.kinds))
    table.add_row("questions", *(str(kind.questions) for kind in report.kinds))
    table.add_row("chance", *(f"{kind.chance:.1f}" for kind in report.kinds), end_section=True)
    for one in report.settings:
        table.add_row(one.setting, *(f"{one.by_kind[kind.kind]:.1f}" for kind in report.kinds))
    return table
