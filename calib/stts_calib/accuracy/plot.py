"""Accuracy over vision latency, as a picture."""

from __future__ import annotations

from pathlib import Path

from stts_calib.accuracy.intervals import Interval
from stts_calib.accuracy.report import AccuracyReport, SettingRecord
from stts_runtime.errors import MissingExtraError
from stts_runtime.outputs import written_whole

_COLOURS = {"full": "#444444", "clip": "#1f77b4", "frame": "#2ca02c", "random": "#d62728", "even": "#ff7f0e"}


def write_accuracy_plot(path: Path, report: AccuracyReport) -> None:
    """Writes a PNG. Raises `MissingExtraError` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib is not installed: pip install 'stts-export[plot]'") from None
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    figure.suptitle(
        f"{report.checkpoint}: {report.clips} {report.split} clips, {report.questions} questions, 95 % intervals"
    )
    axes = figure.subplots(1, 2)
    for axis, title in zip(axes, ("all questions", "questions that need time"), strict=True):
        for record in report.settings:
            accuracy = record.accuracy if title == "all questions" else record.needs_time
            if accuracy is not None:
                _point(axis, record, accuracy)
        axis.set(title=title, xlabel=f"vision ms, median ({report.machine.processor}, {report.machine.cores} cores)")
        axis.set_ylabel("accuracy, %")
        axis.grid(alpha=0.3)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


def _point(axis: object, record: SettingRecord, accuracy: Interval) -> None:
    errors = [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
    colour = _COLOURS[record.setting.partition("-")[0]]
    axis.errorbar(record.vision_ms, accuracy.value, yerr=errors, fmt="o", color=colour, capsize=3)  # type: ignore[attr-defined]
    axis.annotate(  # type: ignore[attr-defined]
        record.setting, (record.vision_ms, accuracy.value), textcoords="offset points", xytext=(6, -10), fontsize=7
    )
