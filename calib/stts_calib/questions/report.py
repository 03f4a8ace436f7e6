"""Report of an evaluation on the user's own questions, as written to disk."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_calib.accuracy.pairs import comparisons
from stts_calib.accuracy.settings import Setting
from stts_calib.questions.evaluate import QuestionEvaluation
from stts_calib.questions.seen import Said
from stts_runtime.bench import Machine
from stts_runtime.bundle.manifest import Scorer


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KindAsked(_Part):
    kind: str
    questions: int
    chance: float | None
    """Percent that guessing among the options would score; None where answers are written."""


class SettingFound(_Part):
    """One setting's share of right answers, percent, and milliseconds, medians over videos."""

    setting: str
    frames: int
    keep: float
    visual_tokens: int
    right: float
    interval: Interval | None
    """95 %, videos and not questions counted; None for a single video."""
    by_kind: dict[str, float]
    vision_ms: float
    clip_ms: float
    """Vision, prefill and all questions."""


class Compared(_Part):
    """`setting` less `against`, percentage points, paired by question."""

    setting: str
    against: str
    points: Interval
    lost: int
    """Questions that `against` answers right and `setting` does not."""
    won: int
    unseen: float | None
    """Where both are always right together: percent of all videos of which so few say nothing (95 %), for an interval
    of no width says too much."""


class Changed(_Part):
    """A question to which settings gave different answers."""

    place: str
    video: str
    question: str
    answer: str
    said: dict[str, Said]


class NotAsked(_Part):
    place: str
    reason: str


class QuestionReport(_Part):
    schema_name: Literal["stts.questions/1"] = "stts.questions/1"
    created: str
    bundle: str
    checkpoint: str
    scorer: Scorer | None = None
    """As in `AccuracyReport`."""
    random_weights: bool
    engine: str
    file: str
    """Name of the file of questions."""
    layout: str
    questions_sha256: str
    options: str
    """How questions with options were put; see `OptionsAsked`."""
    judge: str | None
    videos: int
    questions: int
    left_out: list[NotAsked]
    versions: dict[str, str]
    machine: Machine
    jobs: int
    """Videos watched at the same time; several have one thread each, and the milliseconds are theirs."""
    minutes: float
    kinds: list[KindAsked]
    settings: list[SettingFound]
    differences: list[Compared]
    changed: list[Changed]


def question_report_of(evaluation: QuestionEvaluation, created: str) -> QuestionReport:
    manifest, met, file = evaluation.bundle.manifest, evaluation.circumstances, evaluation.file
    return QuestionReport(
        created=created,
        bundle=evaluation.bundle.folder.name,
        checkpoint=manifest.checkpoint,
        scorer=manifest.scorer,
        random_weights=manifest.random_weights,
        engine=met.engine,
        file=file.path.name,
        layout=file.layout,
        questions_sha256=file.sha256,
        options=met.options,
        judge=met.judge,
        videos=len(set(evaluation.clips.tolist())),
        questions=len(evaluation.answered),
        left_out=[NotAsked(place=place, reason=reason) for place, reason in evaluation.left_out],
        versions=met.versions,
        machine=met.machine,
        jobs=met.jobs,
        minutes=round(evaluation.seconds / 60, 1),
        kinds=_kinds(evaluation),
        settings=[_setting(evaluation, setting) for setting in evaluation.settings],
        differences=_differences(evaluation),
        changed=_changed(evaluation),
    )


def _kinds(evaluation: QuestionEvaluation) -> list[KindAsked]:
    found = []
    for kind in sorted({one.kind for one in evaluation.answered}):
        asked = [one for one in evaluation.answered if one.kind == kind]
        guessed = [1 / len(one.options) for one in asked if one.options]
        chance = round(100 * float(np.mean(guessed)), 1) if len(guessed) == len(asked) else None
        found.append(KindAsked(kind=kind, questions=len(asked), chance=chance))
    return found


def _setting(evaluation: QuestionEvaluation, setting: Setting) -> SettingFound:
    variant, right = evaluation.bundle.manifest.variants[setting.variant], evaluation.right(setting.name)
    kinds, clips = np.array([one.kind for one in evaluation.answered]), evaluation.clips
    said = [seen.settings[setting.name] for seen in evaluation.seen if seen.settings]
    return SettingFound(
        setting=setting.name,
        frames=variant.frames,
        keep=variant.keep,
        visual_tokens=variant.kept_groups,
        right=_percent(right),
        interval=accuracy_interval(right, clips) if len(set(clips.tolist())) > 1 else None,
        by_kind={str(kind): _percent(right[kinds == kind]) for kind in sorted(set(kinds.tolist()))},
        vision_ms=round(float(np.median([one.vision_ms for one in said])), 2),
        clip_ms=round(float(np.median([one.clip_ms for one in said])), 2),
    )


def _percent(right: NDArray[np.float64]) -> float:
    return round(100 * float(right.mean()), 1)


def _differences(evaluation: QuestionEvaluation) -> list[Compared]:
    """None of a single video: there is nothing that it varies over."""
    clips = evaluation.clips
    if len(set(clips.tolist())) < 2:
        return []
    right = {setting.name: evaluation.right(setting.name) for setting in evaluation.settings}
    return [
        _compared(setting, against, right[setting] - right[against], clips)
        for setting, against, scope in comparisons(evaluation.settings, evaluation.bundle.manifest.variants)
        if scope == "all"
    ]


def _compared(setting: str, against: str, gaps: NDArray[np.float64], clips: NDArray[np.int64]) -> Compared:
    videos = len(set(clips.tolist()))
    return Compared(
        setting=setting,
        against=against,
        points=difference_interval(gaps, clips),
        lost=int((gaps < 0).sum()),
        won=int((gaps > 0).sum()),
        # What is in this many of all videos is in none of these with a probability of 5 %.
        unseen=None if gaps.any() else round(100 * (1 - 0.05 ** (1 / videos)), 1),
    )


def _changed(evaluation: QuestionEvaluation) -> list[Changed]:
    """Controls are meant to answer otherwise, and do not count."""
    names = [setting.name for setting in evaluation.settings if setting.control is None]
    asked, found = {one.place: one for one in evaluation.answered}, []
    for seen in (one for one in evaluation.seen if one.settings):
        for place in next(iter(seen.settings.values())).answers:
            said = {name: seen.settings[name].answers[place] for name in names}
            if len({one.text for one in said.values()}) > 1:
                one = asked[place]
                found.append(Changed(place=place, video=one.video, question=one.text, answer=one.answer, said=said))
    return found
