"""The picture of a quantization: times before and after, and what each block costs by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stts_calib.comparison.report import QuantizationReport
from stts_runtime.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STAGES = ("vision", "prefill")


def write_quantization_plot(path: Path, report: QuantizationReport) -> None:
    """PNG. Raises `ImportError` without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    times, blocks = figure.subplots(1, 2)
    _draw_times(times, report)
    _draw_blocks(blocks, report)
    with written_whole(path) as scratch:
        figure.savefig(scratch, format="png", dpi=150)


def _draw_times(axes: Axes, report: QuantizationReport) -> None:
    for number, one in enumerate(report.variants):
        for offset, which, colour in ((-0.2, "before", "tab:grey"), (0.2, "after", "tab:blue")):
            bottom = 0.0
            for stage, shade in zip(_STAGES, (1.0, 0.5), strict=True):
                height = getattr(getattr(one, f"{stage}_ms"), which)
                axes.bar(number + offset, height, 0.38, bottom=bottom, color=colour, alpha=shade)
                bottom += height
        top = max(one.vision_ms.before + one.prefill_ms.before, one.vision_ms.after + one.prefill_ms.after)
        text = f"IoU {one.kept_iou:.3f}\n{one.points.value:+.1f} points"
        axes.annotate(text, (number, top), (0, 3), textcoords="offset points", ha="center", va="bottom")
    axes.margins(y=0.15)
    axes.set_xticks(range(len(report.variants)), [one.variant for one in report.variants], rotation=20, ha="right")
    axes.set_ylabel("ms: vision, and prefill above it")
    axes.set_title("grey: as it was; blue: quantized")


def _draw_blocks(axes: Axes, report: QuantizationReport) -> None:
    shown = [one for one in report.blocks if one.token_error is not None]
    colours = ["tab:blue" if one.quantized else "tab:red" for one in shown]
    axes.barh([one.block for one in shown], [one.token_error or 0.0 for one in shown], color=colours)
    axes.invert_yaxis()
    axes.set_xlabel("relative error of visual tokens, the block quantized by itself")
    axes.set_title("red: left as it was")
