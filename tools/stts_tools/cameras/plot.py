"""Accuracy over keep ratios, one panel a kind of camera, one line a way to choose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from stts_runtime.outputs import written_whole
from stts_tools.cameras.answers import CAMERAS
from stts_tools.cameras.report import Row

_APART = 0.006
"""Points of one keep ratio are drawn side by side."""


def write_camera_plot(path: Path, rows: Sequence[Row], title: str) -> None:
    """Writes a PNG. Bars are intervals of 95 % of accuracies; differences, which are paired, have narrower ones."""
    from matplotlib.figure import Figure

    lines: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda one: one.keep):
        lines[line_of(row)].append(row)
    figure = Figure(figsize=(4 * len(CAMERAS), 4.6), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(CAMERAS), sharey=True)
    for panel, camera in zip(panels, CAMERAS, strict=True):
        panel.set(title=camera, xlabel="keep ratio")
        panel.grid(alpha=0.3)
        for place, (name, points) in enumerate(lines.items()):
            seen = [(row.keep, row.cameras[camera].accuracy) for row in points if camera in row.cameras]
            shift = _APART * (place - (len(lines) - 1) / 2)
            panel.errorbar(
                [keep + shift for keep, _ in seen],
                [one.value for _, one in seen],
                yerr=[[one.value - one.low for _, one in seen], [one.high - one.value for _, one in seen]],
                marker="o",
                capsize=2,
                linewidth=1.2,
                label=name,
            )
    panels[0].set_ylabel("accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines))
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=110, format="png")


def line_of(row: Row) -> str:
    """The scorer's line ends where nothing is dropped; controls have lines of their own."""
    choice = row.setting.partition("-")[0]
    return row.evaluation if choice in ("full", "clip") else f"{row.evaluation}, {choice}"
