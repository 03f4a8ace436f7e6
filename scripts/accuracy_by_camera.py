#!/usr/bin/env python3
"""Accuracy by kind of camera: all settings of one or several evaluations of the same clips, and what they lose.

ANSWERS are files of `stts-export evaluate --answers`, with its --report next to each under the same name. The first
evaluation is what the others are measured by.

Example: accuracy_by_camera.py out/scorers/change.jsonl out/scorers/end-to-end.jsonl --set plain --set hard
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from stts_calib.accuracy import AccuracyReport, check_plot_library
from stts_calib.accuracy.intervals import Interval
from stts_calib.clips import ClipSet
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.show import scored_by
from stts_runtime.outputs import check_place
from stts_tools.cameras.answers import CAMERAS, read_answers
from stts_tools.cameras.plot import write_camera_plot
from stts_tools.cameras.report import Row, read_report, rows_of
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def by_camera(
    answers: Annotated[list[Path], typer.Argument(help="Answers, .jsonl.")],
    clip_set: Annotated[list[ClipSet], typer.Option("--set", help="As `evaluate` was given them, in that order.")],
    out: Annotated[Optional[Path], typer.Option(help="JSON to write.")] = None,
    plot: Annotated[Optional[Path], typer.Option(help="Picture to write, .png.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables for a page of the documentation.")] = False,
) -> None:
    if out is not None:
        check_place(out, [".json"])
    if plot is not None:
        check_place(plot, [".png"])
        check_plot_library()
    reports = {path.stem: read_report(path) for path in answers}
    rows = rows_of([(read_answers(path, clip_set), reports[path.stem]) for path in answers])
    show(rows, reports, markdown)
    first = reports[answers[0].stem]
    about = f"{first.clips} {first.split} clips ({', '.join(first.clip_sets)}), 95 % intervals"
    if plot is not None:
        write_camera_plot(plot, rows, about)
    if out is not None:
        kept = {"created", "checkpoint", "scorer", "weights_sha256", "versions", "machine", "jobs", "minutes"}
        evaluations = {name: report.model_dump(mode="json", include=kept) for name, report in reports.items()}
        write_measured(measured(about=about, evaluations=evaluations, rows=[one.model_dump() for one in rows]), out)


def show(rows: Sequence[Row], reports: Mapping[str, AccuracyReport], markdown: bool) -> None:
    if markdown:
        print(*as_markdown(rows), sep="\n")
        return
    console = Console(width=250)
    console.print(as_table(rows))
    for name, report in reports.items():
        if report.scorer is not None:
            console.print(f"{name}: {scored_by(report.scorer)}", soft_wrap=True)


def as_table(rows: Sequence[Row]) -> Table:
    table = Table(*_head(rows))
    for row in rows:
        table.add_row(*_cells(row))
    return table


def as_markdown(rows: Sequence[Row]) -> Iterator[str]:
    head = _head(rows)
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"


def _head(rows: Sequence[Row]) -> list[str]:
    counted = {camera: rows[0].cameras[camera].questions for camera in CAMERAS if camera in rows[0].cameras}
    cameras = [f"{camera} ({counted.get(camera, 0)} questions)" for camera in CAMERAS]
    return ["evaluation", "setting", "tokens", *cameras, "all, against random", "all, against the first", "vision ms"]


def _cells(row: Row) -> list[str]:
    cameras = [_camera(row, camera) for camera in CAMERAS]
    against = [_points(_against(row, choice)) for choice in ("random", "clip")]
    return [row.evaluation, row.setting, str(row.visual_tokens), *cameras, *against, f"{row.vision_ms:.0f}"]


def _camera(row: Row, camera: str) -> str:
    """Percent right, and the difference to unpruned."""
    if camera not in row.cameras:
        return "-"
    percent = f"{row.cameras[camera].accuracy.value:.1f}"
    return f"{percent}  {_points(_against(row, 'full', camera))}".rstrip()


def _against(row: Row, choice: str, camera: str = "all") -> Interval | None:
    """The first of that choice: the evaluation's own comes before that of the first evaluation."""
    if camera not in row.cameras:
        return None
    points = row.cameras[camera].points
    return next((points[name] for name in points if name.partition("/")[2].startswith(f"{choice}-")), None)


def _points(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f})"


if __name__ == "__main__":
    sys.exit(run_app(app, "accuracy_by_camera.py"))
