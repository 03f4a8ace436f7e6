"""Asks every setting the questions of a file, and keeps all answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stts_calib.accuracy.journal import Circumstances, Journal, measured_with
from stts_calib.accuracy.progress import seen_clips
from stts_calib.accuracy.settings import Setting
from stts_calib.accuracy.workers import watch_clips
from stts_calib.questions.exam import AskedVideo, OptionsAsked, QuestionExam, askable, videos_of
from stts_calib.questions.judge import judged, judged_by
from stts_calib.questions.question import LeftOut, OwnQuestion
from stts_calib.questions.read import QuestionFile
from stts_calib.questions.seen import VideoSeen
from stts_calib.questions.watcher import QuestionWatcher
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName
from stts_runtime.errors import UserError


class QuestionCircumstances(Circumstances):
    """Settings of an evaluation on the user's own questions."""

    schema_name: Literal["stts.questions-journal/1"] = "stts.questions-journal/1"
    questions_sha256: str
    """Hash of the file of questions."""
    videos: str
    """Their folder; what is in it is not looked at."""
    exam_sha256: str
    """Hash of which questions belong to which video number; it changes if the names in the folder do."""
    options: str
    max_tokens: int
    judge: str | None


class QuestionEvaluation:
    """The questions of one file, and every setting's answers."""

    def __init__(
        self,
        bundle: Bundle,
        settings: list[Setting],
        file: QuestionFile,
        options: OptionsAsked = OptionsAsked.letters,
        max_tokens: int = 64,
        engine: EngineName = "cpu",
        jobs: int = 1,
        judge: str | None = None,
    ) -> None:
        """`judge` is a command, see `judge.py`; `jobs` videos are watched at the same time.

        Raises `UserError` if no question can be asked.
        """
        self.bundle, self.settings, self.file, self.jobs, self.judge = bundle, settings, file, jobs, judge
        wanted = QuestionExam(tuple(settings), engine, videos_of(file.questions), options, max_tokens)
        good, refused = askable(bundle, wanted)
        if not good:
            raise UserError(f"no question can be asked; {refused[0].place}: {refused[0].reason}")
        self.exam = QuestionExam(tuple(settings), engine, videos_of(good), options, max_tokens)
        self.left_out = [*file.left_out, *refused]
        self.seen: list[VideoSeen] = []
        """In the order of the exam."""
        self.seconds = 0.0
        """What it took, over all runs of a journal."""
        self.circumstances = QuestionCircumstances(
            questions_sha256=file.sha256,
            videos=str(file.videos.absolute()),
            exam_sha256=_sha256(self.exam.videos),
            options=options.value,
            max_tokens=max_tokens,
            judge=judge,
            **measured_with(bundle, settings, engine, jobs),
        )

    def run(self, on_video: Callable[[int], None] = lambda _: None, journal: Path | None = None) -> None:
        """Asks everything that the journal does not hold yet, and writes it there. `on_video` is as in `seen_clips`.

        Raises `UserError` if no video can be read.
        """
        with (
            Journal.opened(journal, self.circumstances, VideoSeen) as opened,
            nullcontext() if self.judge is None else judged_by(self.judge) as judge,
        ):
            self.circumstances = opened.circumstances

            def watch(videos: Sequence[int]) -> Iterator[VideoSeen]:
                for seen in watch_clips(QuestionWatcher, self.bundle, self.exam, videos, self.jobs):
                    yield seen if judge is None else judged(seen, self._asked, judge)

            for seen, seconds in seen_clips(opened, len(self.exam.videos), watch, on_video):
                self.seconds += seconds
                self.seen.append(seen)
        self.seen.sort(key=lambda one: one.clip)
        self.left_out += [LeftOut(*one) for seen in self.seen for one in seen.left_out.items()]
        self.left_out.sort(key=lambda one: one.number)
        if not self.answered:
            place, reason = self.left_out[0]
            raise UserError(f"no question was answered; {place}: {reason} (--videos names the folder of the videos)")

    @property
    def answered(self) -> list[OwnQuestion]:
        """In the order of the exam, without those that were left out."""
        return [self._asked[place] for seen in self.seen for place in _places(seen)]

    @property
    def clips(self) -> NDArray[np.int64]:
        """(questions,): which video each is about, whichever part of it."""
        numbers = {path: number for number, path in enumerate(dict.fromkeys(one.path for one in self.exam.videos))}
        return np.array([numbers[one.video] for one in self.answered])

    def right(self, setting: str) -> NDArray[np.float64]:
        """(questions,): 1 where a setting's answer is right, else 0."""
        rights = [seen.settings[setting].answers[place].right for seen in self.seen for place in _places(seen)]
        return np.array(rights, dtype=np.float64)

    def records(self) -> Iterator[dict[str, str | float | bool | None]]:
        """Every answer with its question, setting by setting."""
        for setting in self.settings:
            for seen in self.seen:
                for place in _places(seen):
                    question, said = self._asked[place], seen.settings[setting.name].answers[place]
                    yield {
                        "setting": setting.name,
                        "place": place,
                        "video": question.video,
                        "kind": question.kind,
                        "question": question.text,
                        "right": question.answer,
                        "answer": said.text,
                        "probability": said.probability,
                        "is_right": said.right,
                    }

    @cached_property
    def _asked(self) -> dict[str, OwnQuestion]:
        """By place."""
        return {one.place: one for video in self.exam.videos for one in video.questions}


def _sha256(videos: Sequence[AskedVideo]) -> str:
    places = [[one.place for one in video.questions] for video in videos]
    return hashlib.sha256(json.dumps(places).encode()).hexdigest()


def _places(seen: VideoSeen) -> list[str]:
    """Places of the questions that were answered."""
    return list(next(iter(seen.settings.values())).answers) if seen.settings else []
