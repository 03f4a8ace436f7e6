"""Shows clips to every setting of a bundle, in turn, through the engines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_calib.accuracy.exam import Exam
from stts_calib.accuracy.seen import ClipSeen, KeptShare, SettingSeen
from stts_calib.accuracy.settings import Setting
from stts_calib.clips import Clip, Question
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.session import Session
from stts_runtime.video import Window


class _Shown(NamedTuple):
    """A clip as settings with this many frames see it."""

    window: Window
    moving: NDArray[np.bool_]
    """(T, G): where something moves."""
    objects: NDArray[np.bool_]
    """(sightings, T, G): where each moving object is, one frame at a time."""

    @classmethod
    def of(cls, clip: Clip, frames: int, bundle: Bundle) -> _Shown:
        vision = bundle.manifest.vision
        window = clip.window(frames, vision.image_size)
        about = window.times_seconds.tolist(), vision.groups_per_side
        return cls(window, clip.moving(*about), clip.moving_objects(*about))


class Watcher:
    """One process's engines. What it sees of a clip does not depend on the clips before."""

    def __init__(self, bundle: Bundle, exam: Exam) -> None:
        """Loads the engines."""
        self._bundle, self._exam = bundle, exam
        conversation = Conversation.open(bundle, exam.engine)
        variants = {setting.variant for setting in exam.settings}
        self._sessions = {name: Session.open(bundle, name, conversation, exam.engine) for name in variants}

    def watch(self, number: int) -> ClipSeen:
        """Every setting sees the clip before the next one is made, so that all meet the same noise of the machine."""
        clip = self._exam.clip(number)
        questions = clip.some_questions(self._exam.questions)
        shown: dict[int, _Shown] = {}
        settings: dict[str, SettingSeen] = {}
        # In another order for every clip, so that none always comes first, on a cold cache.
        for turn in np.random.default_rng(number).permutation(len(self._exam.settings)).tolist():
            setting = self._exam.settings[turn]
            frames = self._bundle.manifest.variants[setting.variant].frames
            if frames not in shown:
                shown[frames] = _Shown.of(clip, frames, self._bundle)
            at_most = clip.clip_set.answer_tokens
            settings[setting.name] = self._ask(setting, number, shown[frames], questions, at_most)
        return ClipSeen(clip=number, questions=[question.text for question in questions], settings=settings)

    def _ask(
        self, setting: Setting, number: int, shown: _Shown, questions: list[Question], at_most: int
    ) -> SettingSeen:
        manifest, session = self._bundle.manifest, self._sessions[setting.variant]
        given = setting.choice(manifest.budget(manifest.variants[setting.variant]), number)
        watched = session.watch(shown.window, given=given)
        got = [session.ask(watched, question.text, at_most) for question in questions]
        kept = watched.vision.kept
        return SettingSeen(
            answers=[answer.answer for answer in got],
            vision_ms=got[0].milliseconds.vision,
            clip_ms=sum(answer.milliseconds.total for answer in got),
            moving=KeptShare.of(kept[1:][shown.moving[1:]]),
            others=KeptShare.of(kept[1:][~shown.moving[1:]]),
            objects=KeptShare.of(np.any(shown.objects & kept, axis=(1, 2))),
        )
