"""What an evaluation found, as it is written to disk."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stts_calib.accuracy.evaluate import Evaluation
from stts_calib.accuracy.intervals import Interval, interval
from stts_calib.accuracy.settings import Setting
from stts_calib.clips import KINDS, Kind
from stts_runtime.bench import Machine, machine


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KindRecord(_Part):
    """One kind of question. `chance` is what always giving the commonest answer would score, in percent."""

    kind: str
    needs_time: bool
    questions: int
    chance: float


class SettingRecord(_Part):
    """One setting's accuracy, percent, and milliseconds, medians over clips."""

    setting: str
    variant: str
    frames: int
    keep: float
    visual_tokens: int
    accuracy: Interval
    needs_time: Interval | None
    """Over the kinds that one frame cannot answer."""
    by_kind: dict[str, float]
    vision_ms: float
    clip_ms: float
    """Vision, prefill and all questions."""
    kept_of_moving: float | None
    """Percent of the groups in which something moves that were kept, frames 2 to T; below, of all others."""
    kept_of_still: float | None
    answers_sha256: str


class Difference(_Part):
    """Accuracy of `setting` less that of `against`, percentage points, paired by question."""

    setting: str
    against: str
    questions: Literal["all", "needs time"]
    points: Interval


class AccuracyReport(_Part):
    schema_name: Literal["stts.accuracy/1"] = "stts.accuracy/1"
    created: str
    bundle: str
    checkpoint: str
    split: str
    clips: int
    questions: int
    machine: Machine
    minutes: float
    kinds: list[KindRecord]
    settings: list[SettingRecord]
    differences: list[Difference]


def report_of(evaluation: Evaluation, created: str, minutes: float) -> AccuracyReport:
    """Everything that was found, with each setting's difference to what it has to be measured by."""
    manifest = evaluation.bundle.manifest
    timed = _needs_time(evaluation)
    return AccuracyReport(
        created=created,
        bundle=evaluation.bundle.folder.name,
        checkpoint=manifest.checkpoint,
        split=evaluation.split.name,
        clips=evaluation.clips,
        questions=len(evaluation.asked),
        machine=machine(),
        minutes=round(minutes, 1),
        kinds=[_kind(evaluation, kind) for kind in KINDS if kind.name in {one.kind for one in evaluation.asked}],
        settings=[_setting(evaluation, setting, timed) for setting in evaluation.settings],
        differences=_differences(evaluation, timed),
    )


def _needs_time(evaluation: Evaluation) -> NDArray[np.bool_]:
    named = {kind.name for kind in KINDS if kind.needs_time}
    return np.array([one.kind in named for one in evaluation.asked])


def _clips(evaluation: Evaluation) -> NDArray[np.int64]:
    return np.array([one.clip for one in evaluation.asked])


def _kind(evaluation: Evaluation, kind: Kind) -> KindRecord:
    answers = Counter(one.answer for one in evaluation.asked if one.kind == kind.name)
    commonest = max(answers.values()) / answers.total()
    return KindRecord(
        kind=kind.name, needs_time=kind.needs_time, questions=answers.total(), chance=round(100 * commonest, 1)
    )


def _setting(evaluation: Evaluation, setting: Setting, timed: NDArray[np.bool_]) -> SettingRecord:
    manifest, answers = evaluation.bundle.manifest, evaluation.answers[setting.name]
    variant, hits = manifest.variants[setting.variant], answers.hits(evaluation.asked)
    kinds, clips = np.array([one.kind for one in evaluation.asked]), _clips(evaluation)
    return SettingRecord(
        setting=setting.name,
        variant=setting.variant,
        frames=variant.frames,
        keep=variant.keep,
        visual_tokens=variant.kept_groups,
        accuracy=interval(hits, clips),
        needs_time=interval(hits[timed], clips[timed]) if timed.any() else None,
        by_kind={str(kind): round(100 * float(hits[kinds == kind].mean()), 1) for kind in sorted(set(kinds))},
        vision_ms=round(float(np.median(answers.vision_ms)), 2),
        clip_ms=round(float(np.median(answers.clip_ms)), 2),
        kept_of_moving=_percent(answers.kept_of_moving),
        kept_of_still=_percent(answers.kept_of_still),
        answers_sha256=answers.sha256,
    )


def _percent(values: list[float]) -> float | None:
    return round(100 * float(np.mean(values)), 1) if values else None


def _differences(evaluation: Evaluation, timed: NDArray[np.bool_]) -> list[Difference]:
    """Each setting against unpruned; controls against the scorer's choice; more frames against as many tokens."""
    variants, by_name = evaluation.bundle.manifest.variants, {s.name: s for s in evaluation.settings}
    clips, found = _clips(evaluation), list[Difference]()
    hits = {name: answers.hits(evaluation.asked) for name, answers in evaluation.answers.items()}

    def compare(setting: Setting, against: str, needs_time: bool = False) -> None:
        if against not in by_name or against == setting.name:
            return
        gap = hits[setting.name] - hits[against]
        chosen = timed if needs_time else np.ones_like(timed)
        if chosen.any():
            points = interval(gap[chosen], clips[chosen])
            scope: Literal["all", "needs time"] = "needs time" if needs_time else "all"
            found.append(Difference(setting=setting.name, against=against, questions=scope, points=points))

    for setting in evaluation.settings:
        variant = variants[setting.variant]
        compare(setting, f"full-t{variant.frames}")
        if setting.control is not None:
            compare(setting, f"clip-t{variant.frames}-k{variant.keep:g}")
        for other in evaluation.settings:
            same_tokens = variants[other.variant].kept_groups == variant.kept_groups
            if same_tokens and variants[other.variant].frames < variant.frames and setting.control is None:
                compare(setting, other.name)
                compare(setting, other.name, needs_time=True)
    return found
