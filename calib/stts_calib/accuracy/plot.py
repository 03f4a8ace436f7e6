"""Accuracy over vision latency, as a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stts_calib.accuracy.intervals import Interval
from stts_calib.accuracy.report import AccuracyReport, SettingRecord
from stts_runtime.errors import MissingExtraError
from stts_runtime.outputs import written_whole

_COLOURS = {"full": "#444444", "clip": "#1f77b4", "frame": "#2ca02c", "random": "#d62728", "even": "#ff7f0e"}


def check_plot_library() -> None:
    """Raises `MissingExtraError` without matplotlib: better before a long measurement than after it."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib is not installed, and --plot needs it: pip install 'stts-export[plot]'")


def write_accuracy_plot(path: Path, report: AccuracyReport) -> None:
    """Writes a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    figure.suptitle(
        f"{report.checkpoint}: {report.clips} {report.split} clips, {report.questions} questions, 95 % intervals"
    )
    everything, timed = figure.subplots(1, 2)
    for axis, title in ((everything, "all questions"), (timed, "questions that need time")):
        axis.set(title=title, ylabel="accuracy, %")
        axis.set_xlabel(f"vision ms, median ({report.machine.processor}, {report.machine.cores} cores)")
        axis.grid(alpha=0.3)
        axis.margins(x=0.12, y=0.08)
    for place, record in enumerate(sorted(report.settings, key=lambda one: one.vision_ms)):
        _point(everything, record, record.accuracy, above=place % 2 == 0)
        if record.needs_time is not None:
            _point(timed, record, record.needs_time, above=place % 2 == 0)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


def _point(axis: Any, record: SettingRecord, accuracy: Interval, above: bool) -> None:
    """Neighbours have their names above and below, or they would lie on one another."""
    errors = [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
    colour = _COLOURS[record.setting.partition("-")[0]]
    axis.errorbar(record.vision_ms, accuracy.value, yerr=errors, fmt="o", color=colour, capsize=3)
    where = (record.vision_ms, accuracy.high if above else accuracy.low)
    offset, side = ((0, 4), "bottom") if above else ((0, -4), "top")
    axis.annotate(record.setting, where, textcoords="offset points", xytext=offset, ha="center", va=side, fontsize=7)
