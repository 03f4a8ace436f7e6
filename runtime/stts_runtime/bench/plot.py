"""The benchmark as a picture: latency over keep, and over frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stts_runtime.bench.report import Row
from stts_runtime.errors import MissingExtraError
from stts_runtime.outputs import written_whole


def write_plot(path: Path, rows: list[Row], title: str) -> None:
    """Writes a PNG. Raises `MissingExtraError` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib is not installed: pip install 'stts-export[plot]'") from None
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_keep, by_frames = figure.subplots(1, 2)
    _over_keep(by_keep, rows)
    _over_frames(by_frames, rows)
    figure.suptitle(title, fontsize=10)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


def _over_keep(axes: Any, rows: list[Row]) -> None:
    for frames in sorted({row.frames for row in rows}):
        for budget, style in (("clip", "-o"), ("frame", "--s")):
            line = [row for row in rows if row.frames == frames and (row.budget == budget or row.keep == 1)]
            if any(row.keep < 1 for row in line):
                line.sort(key=lambda row: row.keep)
                latency = [row.total_ms.p50 for row in line]
                axes.plot([row.keep for row in line], latency, style, label=f"{frames} frames, {budget}")
    _label(axes, "keep ratio")


def _over_frames(axes: Any, rows: list[Row]) -> None:
    for keep, budget in sorted({(row.keep, row.budget) for row in rows}, reverse=True):
        line = sorted((row for row in rows if (row.keep, row.budget) == (keep, budget)), key=lambda row: row.frames)
        latency = [row.total_ms.p50 for row in line]
        name = "unpruned" if keep == 1 else f"keep {keep:g}, {budget}"
        axes.plot([row.frames for row in line], latency, "--s" if budget == "frame" else "-o", label=name)
    _label(axes, "frames")


def _label(axes: Any, x_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel("median latency, ms (vision to answer)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
