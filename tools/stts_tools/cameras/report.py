"""What several evaluations found, setting by setting and camera by camera, with paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from stts_calib.accuracy import AccuracyReport
from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_calib.accuracy.report import SettingRecord
from stts_runtime.bundle.manifest import Scorer
from stts_runtime.errors import UserError
from stts_tools.cameras.answers import CAMERAS, Answered

FEWEST_CLIPS = 2
"""That an interval needs."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraRecord(_Part):
    """Percent right on the clips of one kind of camera."""

    questions: int
    clips: int
    accuracy: Interval
    points: dict[str, Interval]
    """Less what others have right, paired by question: the evaluation's own unpruned setting, and of the first
    evaluation unpruned, random groups, and its scorer at the same keep ratio.
    """


class Row(_Part):
    """One setting of one evaluation."""

    evaluation: str
    setting: str
    scorer: Scorer | None
    keep: float
    visual_tokens: int
    vision_ms: float
    clip_ms: float
    cameras: dict[str, CameraRecord]


def read_report(path: Path) -> AccuracyReport:
    """Reads the report of the evaluation whose answers are in `path`: the file next to it that ends in .json."""
    beside = path.with_suffix(".json")
    try:
        return AccuracyReport.model_validate_json(beside.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{beside} should be the report of the evaluation that gave {path}: {error}") from None


def rows_of(evaluations: Sequence[tuple[Answered, AccuracyReport]]) -> list[Row]:
    """All settings; the first evaluation is what the others are measured by.

    Raises `UserError` unless all were asked the same, or if two have one name.
    """
    first, _ = evaluations[0]
    names = [answered.name for answered, _ in evaluations]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two files are called {twice[0]}, by which rows are told apart; rename one of them")
    for answered, _ in evaluations:
        if answered.asked.questions != first.asked.questions:
            raise UserError(f"{answered.name} was not asked the same as {first.name}; give both the same options")
    return [_row(answered, report, record, first) for answered, report in evaluations for record in report.settings]


def _row(answered: Answered, report: AccuracyReport, record: SettingRecord, first: Answered) -> Row:
    hits = answered.hits[record.setting]
    others = _others(answered, record, first)
    return Row(
        evaluation=answered.name,
        setting=record.setting,
        scorer=report.scorer if record.keep < 1 and record.setting.startswith(("clip", "frame")) else None,
        keep=record.keep,
        visual_tokens=record.visual_tokens,
        vision_ms=record.vision_ms,
        clip_ms=record.clip_ms,
        cameras={camera: made for camera in CAMERAS if (made := _on(camera, answered, hits, others)) is not None},
    )


def _others(answered: Answered, record: SettingRecord, first: Answered) -> dict[str, NDArray[np.float64]]:
    unpruned, rest = f"full-t{record.frames}", f"t{record.frames}-k{record.keep:g}"
    wanted = [(answered, unpruned), (first, unpruned), (first, f"random-{rest}"), (first, f"clip-{rest}")]
    return {
        f"{other.name}/{setting}": other.hits[setting]
        for other, setting in wanted
        if setting in other.hits and (other.name, setting) != (answered.name, record.setting)
    }


def _on(
    camera: str, answered: Answered, hits: NDArray[np.float64], others: dict[str, NDArray[np.float64]]
) -> CameraRecord | None:
    """None where there are too few clips for an interval."""
    chosen = answered.asked.seen_by(camera)
    clips = answered.asked.clip_numbers[chosen]
    count = len(set(clips.tolist()))
    if count < FEWEST_CLIPS:
        return None
    return CameraRecord(
        questions=int(chosen.sum()),
        clips=count,
        accuracy=accuracy_interval(hits[chosen], clips),
        points={name: difference_interval((hits - one)[chosen], clips) for name, one in others.items()},
    )
