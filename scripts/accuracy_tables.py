#!/usr/bin/env python3
"""The tables of docs/accuracy.md, in Markdown, from the report of scripts/accuracy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from stts_calib.accuracy import AccuracyReport
from stts_calib.accuracy.intervals import Interval
from stts_calib.accuracy.report import SettingRecord
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def tables(report: Annotated[Path, typer.Argument(help="Report, .json.")]) -> None:
    try:
        read = AccuracyReport.model_validate_json(report.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{report} is not a report of `stts-export evaluate`: {error}") from None
    for heading, lines in (
        ("Figures", figures(read)),
        ("As many tokens, more frames", scaling(read)),
        ("Paired differences, percentage points", differences(read)),
        ("By kind, percent (chance: the commonest answer to each wording)", by_kind(read)),
        ("What breaks, points lost; where the interval lies above zero, in bold", breaks(read)),
    ):
        print(f"{heading}:\n", *lines, "", sep="\n")


def figures(report: AccuracyReport) -> Iterator[str]:
    """Every setting."""
    against = {one.setting: one.points for one in report.differences if one.against.startswith("full-t16")}
    columns = [*report.clip_sets, "both", "both, against unpruned, points", "needs time"]
    yield from _head("setting", "tokens", *columns, "kept of what moves / of the rest", "objects lost")
    for one in _in_order(report):
        sets = [_accuracy(one.by_set[name]) for name in report.clip_sets] if one.by_set else [_accuracy(one.accuracy)]
        points = _points(against[one.setting]) if one.setting in against else ""
        timed = _accuracy(one.needs_time) if one.needs_time else ""
        kept = f"{one.kept_of_moving} / {one.kept_of_others}"
        rest = [_accuracy(one.accuracy), points, timed, kept, f"{one.lost_objects}"]
        yield _row(f"`{one.setting}`", str(one.visual_tokens), *sets, *rest)


def scaling(report: AccuracyReport) -> Iterator[str]:
    """Settings of the scorer's that have the tokens of 8 unpruned frames, each against half of its frames."""
    tokens = next((one.visual_tokens for one in report.settings if one.setting == "full-t8"), None)
    chosen = [one for one in report.settings if one.visual_tokens == tokens and not _is_control(one)]
    chosen.sort(key=lambda one: one.frames)
    timed = {(one.setting, one.against): one.points for one in report.differences if one.questions == "needs time"}
    yield from _head("frames", "keep", "all", "needs time", "against half of the frames, needs time")
    for before, one in zip([None, *chosen], chosen, strict=False):
        gain = timed.get((one.setting, before.setting)) if before else None
        needs = _accuracy(one.needs_time) if one.needs_time else ""
        points = _points(gain) if gain else ""
        yield _row(str(one.frames), f"{one.keep:g}", _accuracy(one.accuracy), needs, points)


def differences(report: AccuracyReport) -> Iterator[str]:
    """What the report compares."""
    yield from _head("setting", "against", "questions", "points")
    for one in report.differences:
        yield _row(f"`{one.setting}`", f"`{one.against}`", one.questions, _points(one.points))


def by_kind(report: AccuracyReport) -> Iterator[str]:
    """A line a kind, a column a setting."""
    settings = _in_order(report)
    yield from _head("kind", "needs time", "questions", "chance", *(f"`{one.setting}`" for one in settings))
    for kind in report.kinds:
        about = kind.kind, "yes" if kind.needs_time else "no", str(kind.questions), f"{kind.chance:.1f}"
        yield _row(*about, *(f"{one.by_kind[kind.kind]:.1f}" for one in settings))


def breaks(report: AccuracyReport) -> Iterator[str]:
    """Pruned settings of the scorer's, from the most kept to the least; kinds in the order in which they break."""
    pruned = sorted(
        (one for one in report.settings if one.keep < 1 and not _is_control(one)), key=lambda one: -one.keep
    )

    def breaks_at(kind: str) -> int:
        return next((place for place, one in enumerate(pruned) if _broken(one, kind)), len(pruned))

    yield from _head("kind", *(f"`{one.setting}`" for one in pruned))
    for kind in sorted((one.kind for one in report.kinds), key=breaks_at):
        yield _row(kind, *(_lost(one, kind) for one in pruned))


def _in_order(report: AccuracyReport) -> list[SettingRecord]:
    """From few frames to many, from unpruned to the least kept, and controls after what they are controls of."""
    return sorted(report.settings, key=lambda one: (one.frames, -one.keep, _is_control(one)))


def _broken(setting: SettingRecord, kind: str) -> bool:
    return kind in setting.by_kind_lost and setting.by_kind_lost[kind].low > 0


def _lost(setting: SettingRecord, kind: str) -> str:
    if kind not in setting.by_kind_lost:
        return ""
    lost = f"{setting.by_kind_lost[kind].value:.1f}"
    return f"**{lost}**" if _broken(setting, kind) else lost


def _is_control(setting: SettingRecord) -> bool:
    return setting.variant != setting.setting


def _accuracy(found: Interval) -> str:
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


def _points(found: Interval) -> str:
    return f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def _head(*columns: str) -> Iterable[str]:
    return _row(*columns), _row(*("---" for _ in columns))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(run_app(app, "accuracy_tables.py"))
