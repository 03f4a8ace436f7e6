"""Accuracy over visual tokens, as a picture."""

from __future__ import annotations

from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from stts_calib.accuracy.intervals import Interval
from stts_calib.accuracy.report import AccuracyReport, SettingRecord
from stts_runtime.errors import MissingExtraError
from stts_runtime.outputs import written_whole

_MARKERS = {"clip": "o", "frame": "s", "random": "X", "even": "^"}
_CHOICES = {"clip": "", "even": ", whole frames", "random": ", random groups", "frame": ", each the same number"}
_APART = 1.018
"""Lines that have points of as many tokens are drawn this factor apart."""


class _Line(NamedTuple):
    """Settings of as many frames whose groups were chosen in the same way."""

    frames: int
    choice: str

    @classmethod
    def of(cls, record: SettingRecord) -> _Line:
        """Unpruned is where the line of `clip` ends: keep 1."""
        choice = record.setting.partition("-")[0]
        return cls(record.frames, "clip" if choice == "full" else choice)

    @property
    def label(self) -> str:
        return f"{self.frames} frames{_CHOICES[self.choice]}"


def check_plot_library() -> None:
    """Raises `MissingExtraError` without matplotlib: better before a long measurement than after it."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib is not installed, and --plot needs it: pip install 'stts-export[plot]'")


def write_accuracy_plot(path: Path, report: AccuracyReport) -> None:
    """Writes a PNG. Tokens and not milliseconds: clips that are watched at the same time slow one another down."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    figure.suptitle(title(report))
    everything, timed = figure.subplots(1, 2)
    tokens = sorted({one.visual_tokens for one in report.settings})
    for axis, heading in ((everything, "all questions"), (timed, "questions that need time")):
        axis.set_xscale("log")
        axis.set(title=heading, ylabel="accuracy, %", xlabel="visual tokens that the language model reads")
        axis.set_xticks(_readable(tokens), [str(number) for number in _readable(tokens)])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    lines: dict[_Line, list[SettingRecord]] = defaultdict(list)
    for record in sorted(report.settings, key=lambda one: one.visual_tokens):
        lines[_Line.of(record)].append(record)
    in_order = sorted(lines, key=lambda one: (list(_CHOICES).index(one.choice), one.frames))
    for place, line in enumerate(in_order):
        shift = _APART ** (place - (len(lines) - 1) / 2)
        colour = f"C{sorted({one.frames for one in lines}).index(line.frames)}"
        _draw(everything, line, [(one.visual_tokens * shift, one.accuracy) for one in lines[line]], colour)
        with_time = [(one.visual_tokens * shift, one.needs_time) for one in lines[line] if one.needs_time is not None]
        _draw(timed, line, with_time, colour)
    figure.legend(*everything.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    with written_whole(path) as scratch:
        figure.savefig(scratch, dpi=120, format="png")


def title(report: AccuracyReport) -> str:
    """What was measured, and what chose the groups."""
    asked = f"{report.clips} {report.split} clips, {report.questions} questions, 95 % intervals"
    if report.scorer is None:
        return f"{report.checkpoint}: {asked}"
    return f"{report.checkpoint}, {'trained scorer' if report.scorer.trained else 'scorer change, untrained'}: {asked}"


def _readable(tokens: list[int]) -> list[int]:
    """Those that stand far enough from the one before for its number not to touch theirs."""
    chosen: list[int] = []
    for number in tokens:
        if not chosen or number > 1.15 * chosen[-1]:
            chosen.append(number)
    return chosen


def _draw(axis: Any, line: _Line, points: list[tuple[float, Interval]], colour: str) -> None:
    found = [one for _, one in points]
    errors = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
    axis.errorbar(
        [place for place, _ in points],
        [one.value for one in found],
        yerr=errors,
        marker=_MARKERS[line.choice],
        color=colour,
        linestyle="-" if line.choice == "clip" else "none",
        capsize=2,
        linewidth=1.2,
        label=line.label,
    )
