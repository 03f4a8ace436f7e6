"""Asks every setting the same questions about the same clips, and keeps all answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_calib.accuracy.exam import Exam
from stts_calib.accuracy.journal import Circumstances, Journal, measured_with
from stts_calib.accuracy.progress import seen_clips
from stts_calib.accuracy.seen import ClipSeen, KeptShare, SettingSeen
from stts_calib.accuracy.settings import Setting
from stts_calib.accuracy.watcher import Watcher
from stts_calib.accuracy.workers import watch_clips
from stts_calib.clips import ClipSet, Question, Split
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError


class Asked(NamedTuple):
    """A question that was asked of every setting."""

    question: Question
    clip: int
    """Its place among the clips of this evaluation."""

    @property
    def kind(self) -> str:
        return self.question.kind


@dataclass
class Answers:
    """What one setting answered, in the order in which it was asked."""

    texts: list[str] = field(default_factory=list)
    vision_ms: list[float] = field(default_factory=list)
    """One entry a clip; below, everything about a clip and its questions."""
    clip_ms: list[float] = field(default_factory=list)
    moving: KeptShare = field(default_factory=KeptShare)
    """Share kept of the groups in frames 2 to T in which something moves; below, of all others."""
    others: KeptShare = field(default_factory=KeptShare)
    objects: KeptShare = field(default_factory=KeptShare)
    """Share of the moving objects, frame by frame, of which a group was kept."""

    def add(self, seen: SettingSeen) -> None:
        self.texts += seen.answers
        self.vision_ms.append(seen.vision_ms)
        self.clip_ms.append(seen.clip_ms)
        self.moving += seen.moving
        self.others += seen.others
        self.objects += seen.objects

    def hits(self, asked: list[Asked]) -> NDArray[np.float64]:
        """1 where the answer is right, to the letter or as a point, else 0."""
        rights = [one.question.is_right(text) for text, one in zip(self.texts, asked, strict=True)]
        return np.array(rights, dtype=np.float64)

    @property
    def sha256(self) -> str:
        """Hash of all answers, equal for two runs that agree to the letter."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


class ClipCircumstances(Circumstances):
    """Those of an evaluation on our clips."""

    schema_name: Literal["stts.accuracy-journal/1"] = "stts.accuracy-journal/1"
    questions: int
    split: str
    clip_sets: list[str]


class Evaluation:
    """A number of clips of one split, questions about each, and every setting's answers."""

    def __init__(
        self,
        bundle: Bundle,
        settings: list[Setting],
        clips: int,
        questions: int,
        split: Split,
        engine: EngineName = "cpu",
        clip_sets: Sequence[ClipSet] = (ClipSet.plain,),
        jobs: int = 1,
    ) -> None:
        """`clips` of all `clip_sets` together, which take turns; `jobs` of them are watched at the same time."""
        self.bundle, self.settings, self.clips, self.jobs = bundle, settings, clips, jobs
        self.exam = Exam(tuple(settings), questions, split, engine, tuple(clip_sets))
        self.asked: list[Asked] = []
        self.answers = {setting.name: Answers() for setting in settings}
        self.seconds = 0.0
        """What it took, over all runs of a journal."""
        self.circumstances = ClipCircumstances(
            questions=questions,
            split=split.name,
            clip_sets=[one.value for one in clip_sets],
            **measured_with(bundle, settings, engine, jobs),
        )

    def run(self, on_clip: Callable[[int], None] = lambda _: None, journal: Path | None = None) -> None:
        """Asks everything that the journal does not hold yet, and writes it there. `on_clip` is as in `seen_clips`."""
        watch = partial(watch_clips, Watcher, self.bundle, self.exam, jobs=self.jobs)
        with Journal.opened(journal, self.circumstances, ClipSeen) as opened:
            self.circumstances = opened.circumstances
            for seen, seconds in seen_clips(opened, self.clips, watch, on_clip):
                self.seconds += seconds
                self._add(seen)

    def records(self) -> Iterator[dict[str, str | int]]:
        """Every answer with its question, setting by setting."""
        for setting, answers in self.answers.items():
            for asked, text in zip(self.asked, answers.texts, strict=True):
                about: dict[str, str | int] = {
                    "setting": setting,
                    "clip": asked.clip,
                    "kind": asked.kind,
                    "question": asked.question.text,
                }
                yield {**about, "right": asked.question.answer, "answer": text}

    def _add(self, seen: ClipSeen) -> None:
        questions = self.exam.clip(seen.clip).some_questions(self.exam.questions)
        if [question.text for question in questions] != seen.questions:
            raise UserError(f"clip {seen.clip} was asked other questions: the clips have changed since; start over")
        self.asked += [Asked(question, seen.clip) for question in questions]
        for name, answers in self.answers.items():
            answers.add(seen.settings[name])
