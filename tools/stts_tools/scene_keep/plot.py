"""Accuracy over mean visual tokens: fixed keeps, and the rule by each measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stts_runtime.outputs import written_whole
from stts_tools.scene_keep.simulate import SCENES, Row

_MARKERS = "osd"


def write_scene_plot(path: Path, rows: Sequence[Row], title: str) -> None:
    """Writes a PNG. Bars are intervals of 95 % of accuracies; differences, which are paired, have narrower ones."""
    from matplotlib.figure import Figure

    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault("fixed keep" if row.against is None else row.setting, []).append(row)
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(SCENES))
    for panel, scene in zip(panels, SCENES, strict=True):
        panel.set(title=f"{scene} clips", xlabel="mean visual tokens", xscale="log")
        panel.grid(alpha=0.3)
        for marker, (name, points) in zip(_MARKERS, lines.items(), strict=False):
            found = [row.scenes[scene] for row in points]
            panel.errorbar(
                [one.mean_tokens for one in found],
                [one.accuracy.value for one in found],
                yerr=[
                    [one.accuracy.value - one.accuracy.low for one in found],
                    [one.accuracy.high - one.accuracy.value for one in found],
                ],
                marker=marker,
                capsize=2,
                linewidth=1.2,
                label=name,
            )
        ticks = sorted({row.scenes["all"].mean_tokens for row in lines["fixed keep"]})
        panel.set_xticks(ticks, [f"{one:g}" for one in ticks])
        panel.minorticks_off()
    panels[0].set_ylabel("accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines))
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=110, format="png")
