"""Shows videos to every setting of a bundle, in turn, through the engines, and asks their questions."""

from __future__ import annotations

import numpy as np

from stts_calib.accuracy.settings import Setting
from stts_calib.questions.exam import AskedVideo, QuestionExam
from stts_calib.questions.marks import is_exact
from stts_calib.questions.question import OwnQuestion
from stts_calib.questions.seen import Said, SettingSaid, VideoSeen, packed
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.errors import PromptError, SourceError
from stts_runtime.records import Answer
from stts_runtime.session import Session, Watched
from stts_runtime.video import VideoFile, Window, window_of_file


class QuestionWatcher:
    """One process's engines. What it sees of a video does not depend on the videos before."""

    def __init__(self, bundle: Bundle, exam: QuestionExam) -> None:
        """Loads the engines."""
        self._bundle, self._manifest, self._exam = bundle, bundle.manifest, exam
        conversation = Conversation.open(bundle, exam.engine)
        variants = {setting.variant for setting in exam.settings}
        self._sessions = {name: Session.open(bundle, name, conversation, exam.engine) for name in variants}

    def watch(self, number: int) -> VideoSeen:
        """Every setting sees the video before the next one is read, so that all meet the same noise of the machine."""
        asked = self._exam.videos[number]
        try:
            windows = windows_of(self._bundle, self._exam, asked)
        except SourceError as error:
            return VideoSeen(clip=number, left_out={one.place: str(error) for one in asked.questions})
        settings: dict[str, SettingSaid] = {}
        left_out: dict[str, str] = {}
        # In another order for every video, so that none always comes first, on a cold cache.
        for turn in np.random.default_rng(number).permutation(len(self._exam.settings)).tolist():
            setting = self._exam.settings[turn]
            window = windows[self._manifest.variants[setting.variant].frames]
            settings[setting.name] = self._ask(setting, number, window, asked.questions, left_out)
        return VideoSeen(
            clip=number,
            settings={name: _without(said, left_out) for name, said in settings.items()},
            left_out=left_out,
        )

    def _ask(
        self,
        setting: Setting,
        number: int,
        window: Window,
        questions: tuple[OwnQuestion, ...],
        left_out: dict[str, str],
    ) -> SettingSaid:
        """A question that does not fit joins those that are `left_out`."""
        session = self._sessions[setting.variant]
        given = setting.choice(self._manifest.budget(self._manifest.variants[setting.variant]), number)
        watched = session.watch(window, given=given)
        got: dict[str, Answer] = {}
        for one in questions:
            if one.place not in left_out:
                answer = self._answer(session, watched, one)
                if isinstance(answer, PromptError):
                    left_out[one.place] = str(answer)
                else:
                    got[one.place] = answer
        spent = [answer.milliseconds.total for answer in got.values()]
        return SettingSaid(
            answers={one.place: self._said(one, got[one.place]) for one in questions if one.place in got},
            vision_ms=watched.spent["vision"],
            clip_ms=sum(spent) or watched.spent["vision"],
            kept=packed(watched.vision.kept),
        )

    def _answer(self, session: Session, watched: Watched, question: OwnQuestion) -> Answer | PromptError:
        form = self._exam.form(question)
        try:
            return session.ask(watched, self._exam.text(question), self._exam.max_tokens, form=form)
        except PromptError as error:
            return error

    def _said(self, question: OwnQuestion, answer: Answer) -> Said:
        if answer.choices is None:
            return Said(text=answer.answer, right=is_exact(question, answer.answer))
        choices = self._exam.form(question).choices
        chosen = question.options[choices.index(answer.answer)]
        return Said(
            text=chosen,
            probability=round(answer.choices.probabilities[answer.answer], 4),
            right=chosen == question.answer,
        )


def _without(said: SettingSaid, left_out: dict[str, str]) -> SettingSaid:
    """All settings answer the same questions, or they could not be compared."""
    return said.model_copy(update={"answers": {at: one for at, one in said.answers.items() if at not in left_out}})


def windows_of(bundle: Bundle, exam: QuestionExam, asked: AskedVideo) -> dict[int, Window]:
    """What the settings look at, by their number of frames. Raises `SourceError`."""
    manifest, video = bundle.manifest, VideoFile(asked.path)
    counts = {manifest.variants[setting.variant].frames for setting in exam.settings}
    size = manifest.vision.image_size
    return {count: window_of_file(video, count, manifest.max_fps, size, asked.part) for count in sorted(counts)}
