"""Asks every setting the same questions about the same clips, in turn, through the engines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_calib.accuracy.settings import Setting
from stts_calib.clips import Clip, ClipSet, Question, Split
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.engines import EngineName
from stts_runtime.session import Session
from stts_runtime.video import Window

_ANSWER_TOKENS = {ClipSet.plain: 8, ClipSet.hard: 24}
"""At most. A point takes 16."""


class Asked(NamedTuple):
    """A question that was asked of every setting."""

    question: Question
    clip: int
    """Its place among the clips of this evaluation."""

    @property
    def kind(self) -> str:
        return self.question.kind


class Shown(NamedTuple):
    """A clip as settings with so many frames see it."""

    clip: int
    window: Window
    moving: NDArray[np.bool_]
    """(T, G): where something moves."""
    objects: NDArray[np.bool_]
    """(sightings, T, G): where each moving object is, one frame at a time."""


@dataclass
class KeptShare:
    """How many of some groups were kept."""

    kept: int = 0
    groups: int = 0

    def add(self, kept: NDArray[np.bool_]) -> None:
        self.kept += int(kept.sum())
        self.groups += kept.size

    @property
    def percent(self) -> float | None:
        return round(100 * self.kept / self.groups, 1) if self.groups else None


@dataclass
class Answers:
    """What one setting answered, in the order in which it was asked."""

    texts: list[str] = field(default_factory=list)
    vision_ms: list[float] = field(default_factory=list)
    """One entry a clip; below, everything about a clip and its questions."""
    clip_ms: list[float] = field(default_factory=list)
    moving: KeptShare = field(default_factory=KeptShare)
    """Of the groups, in frames 2 to T, in which something moves; below, of all others."""
    others: KeptShare = field(default_factory=KeptShare)
    objects: KeptShare = field(default_factory=KeptShare)
    """Of the moving objects, frame by frame, those of which a group was kept."""

    def hits(self, asked: list[Asked]) -> NDArray[np.float64]:
        """1 where the answer is right, to the letter or as a point, else 0."""
        rights = [one.question.is_right(text) for text, one in zip(self.texts, asked, strict=True)]
        return np.array(rights, dtype=np.float64)

    @property
    def sha256(self) -> str:
        """Of all answers: two runs that agree to the letter have the same."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


class Evaluation:
    """So many clips of one split, so many questions each, and every setting's answers."""

    def __init__(
        self,
        bundle: Bundle,
        settings: list[Setting],
        clips: int,
        questions: int,
        split: Split,
        engine: EngineName = "cpu",
        clip_sets: Sequence[ClipSet] = (ClipSet.plain,),
    ) -> None:
        """`clips` of all `clip_sets` together, which take turns."""
        self.bundle, self.settings, self.clips, self.split, self.engine = bundle, settings, clips, split, engine
        self.clip_sets = tuple(clip_sets)
        self.lowering = "cpu"
        """Of the graphs that answer, known once they are loaded."""
        self._questions = questions
        self.asked: list[Asked] = []
        self.answers = {setting.name: Answers() for setting in settings}

    def run(self, on_clip: Callable[[int], None] = lambda _: None) -> None:
        """Asks everything; `on_clip` is called with the number of clips done: 0 once the engines are loaded."""
        conversation = Conversation.open(self.bundle, self.engine)
        self.lowering = conversation.lowering
        variants = {setting.variant for setting in self.settings}
        sessions = {name: Session.open(self.bundle, name, conversation, self.engine) for name in variants}
        on_clip(0)
        for number in range(self.clips):
            turn, chosen = divmod(number, len(self.clip_sets))
            self._watch(number, Clip.make(self.split, turn, self.clip_sets[chosen]), sessions)
            on_clip(number + 1)

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

    def _watch(self, number: int, clip: Clip, sessions: dict[str, Session]) -> None:
        """Every setting sees the clip before the next one is made, so that all meet the same noise of the machine."""
        questions = clip.some_questions(self._questions)
        self.asked += [Asked(question, number) for question in questions]
        manifest, shown = self.bundle.manifest, dict[int, Shown]()
        # In another order for every clip, so that none always comes first, on a cold cache.
        for turn in np.random.default_rng(number).permutation(len(self.settings)).tolist():
            setting = self.settings[turn]
            frames = manifest.variants[setting.variant].frames
            if frames not in shown:
                window = clip.window(frames, manifest.vision.image_size)
                about = window.times_seconds.tolist(), manifest.vision.groups_per_side
                shown[frames] = Shown(number, window, clip.moving(*about), clip.moving_objects(*about))
            self._ask(setting, sessions[setting.variant], shown[frames], questions, _ANSWER_TOKENS[clip.clip_set])

    def _ask(
        self, setting: Setting, session: Session, shown: Shown, questions: list[Question], answer_tokens: int
    ) -> None:
        manifest, answers = self.bundle.manifest, self.answers[setting.name]
        given = setting.choice(manifest.budget(manifest.variants[setting.variant]), shown.clip)
        watched = session.watch(shown.window, given=given)
        kept_later, moving_later = watched.vision.kept[1:], shown.moving[1:]
        answers.moving.add(kept_later[moving_later])
        answers.others.add(kept_later[~moving_later])
        answers.objects.add(np.any(shown.objects & watched.vision.kept, axis=(1, 2)))
        got = [session.ask(watched, question.text, answer_tokens) for question in questions]
        answers.texts += [answer.answer for answer in got]
        answers.vision_ms.append(got[0].milliseconds.vision)
        answers.clip_ms.append(sum(answer.milliseconds.total for answer in got))
