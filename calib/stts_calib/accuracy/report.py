"""What an evaluation found, as it is written to disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from stts_calib.accuracy.evaluate import Evaluation
from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_calib.accuracy.pairs import QuestionSet, comparisons
from stts_calib.accuracy.settings import Setting
from stts_calib.clips import ALL_KINDS, Kind
from stts_runtime.bench import Machine
from stts_runtime.bundle.manifest import Scorer


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KindRecord(_Part):
    """One kind of question. `chance` is what the commonest answer to every wording would score, in percent."""

    kind: str
    needs_time: bool
    takes: str = ""
    """What it takes to answer."""
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
    by_set: dict[str, Interval] = Field(default_factory=dict)
    """The same for each set of clips, where there are several."""
    needs_time: Interval | None
    """Over the kinds that one frame cannot answer."""
    by_kind: dict[str, float]
    by_kind_intervals: dict[str, Interval] = Field(default_factory=dict)
    """The same with intervals, for kinds that were asked about two clips or more."""
    by_kind_lost: dict[str, Interval] = Field(default_factory=dict)
    """By kind, points less than unpruned, paired by question: than with as many frames, or else with the most."""
    vision_ms: float
    clip_ms: float
    """Vision, prefill and all questions."""
    kept_of_moving: float | None
    """Percent of the groups in which something moves that were kept, frames 2 to T; below, of all others."""
    kept_of_others: float | None
    lost_objects: float | None = None
    """Percent of the moving objects, frame by frame, of which no group was kept."""
    answers_sha256: str


class Difference(_Part):
    """Accuracy of `setting` less that of `against`, percentage points, paired by question."""

    setting: str
    against: str
    questions: QuestionSet
    points: Interval


class AccuracyReport(_Part):
    schema_name: Literal["stts.accuracy/1"] = "stts.accuracy/1"
    created: str
    bundle: str
    checkpoint: str
    scorer: Scorer | None = None
    """What chose the groups of pruned settings that are no controls; None where nothing can be pruned."""
    engine: str = "cpu"
    split: str
    clip_sets: list[str] = ["plain"]
    clips: int
    questions: int
    random_weights: bool
    weights_sha256: dict[str, str]
    """Hashes of the bundle's weight files."""
    versions: dict[str, str]
    """Versions of the packages that make and draw clips, and of this one."""
    machine: Machine
    jobs: int = 1
    """Clips watched at the same time; several have one thread each, and the milliseconds are theirs."""
    minutes: float
    kinds: list[KindRecord]
    settings: list[SettingRecord]
    differences: list[Difference]


def report_of(evaluation: Evaluation, created: str) -> AccuracyReport:
    """Everything that was found, with each setting's difference to what it has to be measured by."""
    manifest, met = evaluation.bundle.manifest, evaluation.circumstances
    timed = _needs_time(evaluation)
    return AccuracyReport(
        created=created,
        bundle=evaluation.bundle.folder.name,
        checkpoint=manifest.checkpoint,
        scorer=manifest.scorer,
        engine=met.engine,
        split=met.split,
        clip_sets=met.clip_sets,
        clips=evaluation.clips,
        questions=len(evaluation.asked),
        random_weights=manifest.random_weights,
        weights_sha256=met.weights_sha256,
        versions=met.versions,
        machine=met.machine,
        jobs=met.jobs,
        minutes=round(evaluation.seconds / 60, 1),
        kinds=[_kind(evaluation, kind) for kind in ALL_KINDS if kind.name in {one.kind for one in evaluation.asked}],
        settings=[_setting(evaluation, setting, timed) for setting in evaluation.settings],
        differences=_differences(evaluation, timed),
    )


def _needs_time(evaluation: Evaluation) -> NDArray[np.bool_]:
    named = {kind.name for kind in ALL_KINDS if kind.needs_time}
    return np.array([one.kind in named for one in evaluation.asked])


def _clips(evaluation: Evaluation) -> NDArray[np.int64]:
    return np.array([one.clip for one in evaluation.asked])


def _kind(evaluation: Evaluation, kind: Kind) -> KindRecord:
    asked = [one for one in evaluation.asked if one.kind == kind.name]
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for one in asked:
        # Where a wording names a second, that is no other wording.
        answers[one.question.text.rstrip("?0123456789")][one.question.answer] += 1
    guessed = sum(max(counts.values()) for counts in answers.values())
    return KindRecord(
        kind=kind.name,
        needs_time=kind.needs_time,
        takes=kind.takes,
        questions=len(asked),
        chance=round(100 * guessed / len(asked), 1),
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
        accuracy=accuracy_interval(hits, clips),
        by_set=_by_set(evaluation, hits, clips),
        needs_time=accuracy_interval(hits[timed], clips[timed]) if len(set(clips[timed])) > 1 else None,
        by_kind={str(kind): round(100 * float(hits[kinds == kind].mean()), 1) for kind in sorted(set(kinds))},
        by_kind_intervals={
            str(kind): accuracy_interval(hits[kinds == kind], clips[kinds == kind])
            for kind in sorted(set(kinds))
            if len(set(clips[kinds == kind])) > 1
        },
        by_kind_lost=_by_kind_lost(evaluation, setting, kinds, clips),
        vision_ms=round(float(np.median(answers.vision_ms)), 2),
        clip_ms=round(float(np.median(answers.clip_ms)), 2),
        kept_of_moving=answers.moving.percent,
        kept_of_others=answers.others.percent,
        lost_objects=answers.objects.percent_lost,
        answers_sha256=answers.sha256,
    )


def _by_kind_lost(
    evaluation: Evaluation, setting: Setting, kinds: NDArray[np.str_], clips: NDArray[np.int64]
) -> dict[str, Interval]:
    variants = evaluation.bundle.manifest.variants
    frames = {one.name: variants[one.variant].frames for one in evaluation.settings}
    unpruned = [name for name in frames if name.startswith("full-")]
    if not unpruned or setting.name in unpruned:
        return {}
    against = max(unpruned, key=lambda name: (frames[name] == frames[setting.name], frames[name]))
    hits = [evaluation.answers[name].hits(evaluation.asked) for name in (against, setting.name)]
    return {
        str(kind): difference_interval((hits[0] - hits[1])[kinds == kind], clips[kinds == kind])
        for kind in sorted(set(kinds))
        if len(set(clips[kinds == kind])) > 1
    }


def _by_set(evaluation: Evaluation, hits: NDArray[np.float64], clips: NDArray[np.int64]) -> dict[str, Interval]:
    sets = evaluation.exam.clip_sets
    if len(sets) == 1:
        return {}
    of_set = {one.value: clips % len(sets) == place for place, one in enumerate(sets)}
    return {
        name: accuracy_interval(hits[chosen], clips[chosen])
        for name, chosen in of_set.items()
        if len(set(clips[chosen])) > 1
    }


def _differences(evaluation: Evaluation, timed: NDArray[np.bool_]) -> list[Difference]:
    clips = _clips(evaluation)
    hits = {name: answers.hits(evaluation.asked) for name, answers in evaluation.answers.items()}
    found = []
    for setting, against, scope in comparisons(evaluation.settings, evaluation.bundle.manifest.variants):
        chosen = timed if scope == "needs time" else np.ones_like(timed)
        if len(set(clips[chosen])) > 1:
            points = difference_interval((hits[setting] - hits[against])[chosen], clips[chosen])
            found.append(Difference(setting=setting, against=against, questions=scope, points=points))
    return found
