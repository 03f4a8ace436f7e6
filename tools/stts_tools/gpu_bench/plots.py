"""The report as pictures: latency and speed-up over frames, and how much of what is possible is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stts_runtime.outputs import written_whole
from stts_tools.gpu_bench.report import GpuReport, Row

_ENGINE = "engine"
_TORCH = "torch eager"


def write_plots(report: GpuReport, path: Path) -> None:
    """Writes one PNG with three panels."""
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    latency, speed_up, share = figure.subplots(1, 3)
    windows = _windows(report)
    _latency(latency, windows)
    _speed_up(speed_up, windows)
    _share(share, report.rows)
    figure.suptitle(f"{report.size}, random weights, {report.precision}, {report.gpu}", fontsize=10)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


def _windows(report: GpuReport) -> dict[tuple[int, float], dict[str, float]]:
    """Milliseconds of vision and prefill together, by frames and keep, then by what ran them."""
    found: dict[tuple[int, float], dict[str, float]] = {}
    for row in report.rows:
        if row.stage in ("vision", "prefill"):
            own = found.setdefault((row.frames, row.keep), {})
            for runner in (_ENGINE, _TORCH):
                own[runner] = own.get(runner, 0) + row.milliseconds[runner].median
    return found


def _latency(axes: Any, windows: dict[tuple[int, float], dict[str, float]]) -> None:
    for keep in sorted({keep for _, keep in windows}, reverse=True):
        for runner, style in ((_ENGINE, "-o"), (_TORCH, "--s")):
            line = sorted((frames, times[runner]) for (frames, kept), times in windows.items() if kept == keep)
            axes.plot(*zip(*line, strict=True), style, label=f"{_name(keep)}, {runner}", markersize=4)
    _label(axes, "vision + prefill, ms")
    axes.set_yscale("log")


def _speed_up(axes: Any, windows: dict[tuple[int, float], dict[str, float]]) -> None:
    for keep in sorted({keep for _, keep in windows if keep < 1}, reverse=True):
        line = sorted(
            (frames, windows[frames, 1.0][_ENGINE] / times[_ENGINE])
            for (frames, kept), times in windows.items()
            if kept == keep and (frames, 1.0) in windows
        )
        axes.plot(*zip(*line, strict=True), "-o", label=_name(keep), markersize=4)
    _label(axes, "times faster than unpruned, vision + prefill")
    axes.set_ylim(bottom=1)


def _share(axes: Any, rows: list[Row]) -> None:
    for stage in ("vision", "prefill"):
        for keep in (1.0, 0.5):
            line = sorted((row.frames, 100 * row.share) for row in rows if (row.stage, row.keep) == (stage, keep))
            if line:
                axes.plot(*zip(*line, strict=True), "-o", label=f"{stage}, {_name(keep)}", markersize=4)
    _label(axes, "% of what this run's own rates allow")
    axes.set_ylim(0, 100)


def _name(keep: float) -> str:
    return "unpruned" if keep == 1 else f"keep {keep:g}"


def _label(axes: Any, y_label: str) -> None:
    axes.set_xlabel("frames")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
