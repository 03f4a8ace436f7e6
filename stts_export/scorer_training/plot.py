"""The picture of a run: losses, how often the pruned model agrees, and what is kept of a frame."""

from __future__ import annotations

import io
import math

from stts_export.scorer_training.state import Report

_FEW = 10


def training_plot(reports: list[Report]) -> bytes:
    """PNG. Raises `ImportError` without matplotlib."""
    from matplotlib.figure import Figure

    # A line of one point would not show.
    mark = "." if len(reports) < _FEW else ""
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, agreement, kept = figure.subplots(1, 3)
    steps = [report.step for report in reports]
    answers = [_drawn(report.answer_loss) for report in reports]
    losses.plot(steps, answers, label="answers: divergence a token, nats", marker=mark)
    losses.plot(
        steps, [report.score_loss for report in reports], label="scores: squared distance to change", marker=mark
    )
    losses.set_yscale("log")
    losses.legend()
    agreed = [100 * _drawn(report.agreement) for report in reports]
    agreement.plot(steps, agreed, label="tokens as the unpruned model has them", marker=mark)
    # Below 0 the scores are worse than the mean of change.
    explained = [max(0.0, 100 * report.explained) for report in reports]
    agreement.plot(steps, explained, label="change explained by the scores", marker=mark)
    agreement.set_ylim(0, 100)
    agreement.set_ylabel("%")
    agreement.legend()
    low, middle, high = zip(*(report.kept for report in reports), strict=True)
    kept.fill_between(steps, low, high, alpha=0.3, label="four fifths of the frames")
    kept.plot(steps, middle, label="median", marker=mark)
    kept.set_ylim(0, 1)
    kept.set_ylabel("share kept of a frame after the first")
    kept.legend()
    for axes in (losses, agreement, kept):
        axes.set_xlabel("step")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _drawn(value: float | None) -> float:
    """Nothing, where there is none."""
    return math.nan if value is None else value
