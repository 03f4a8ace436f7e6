"""Shows two bundles the same clips and asks both the same questions, in turn, through the engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stts_calib.clips import Clip, ClipSet, Question, Split
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.session import Session
from stts_runtime.video import Window


@dataclass
class Side:
    """What one bundle made of one variant's clips."""

    texts: list[str] = field(default_factory=list)
    kept: list[NDArray[np.bool_]] = field(default_factory=list)
    """(T, G) of every clip."""
    vision_ms: list[float] = field(default_factory=list)
    prefill_ms: list[float] = field(default_factory=list)
    """Prefill of the video and the first question."""
    decode_ms: list[float] = field(default_factory=list)
    """Per token after the first, of every answer that has such."""
    total_ms: list[float] = field(default_factory=list)
    """From frames to the first question's answer."""

    def hits(self, answers: list[str]) -> NDArray[np.float64]:
        return np.array([text == right for text, right in zip(self.texts, answers, strict=True)], dtype=np.float64)


@dataclass
class Comparison:
    """Everything that was seen, by variant."""

    before: dict[str, Side] = field(default_factory=dict)
    after: dict[str, Side] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    """The right ones, in the order in which questions were asked, and the number of each one's clip."""
    clips: list[int] = field(default_factory=list)

    def kept_iou(self, variant: str) -> float:
        """Mean over clips."""
        pairs = zip(self.before[variant].kept, self.after[variant].kept, strict=True)
        return float(np.mean([(one & other).sum() / (one | other).sum() for one, other in pairs]))

    def same_answers(self, variant: str) -> float:
        """Percent."""
        pairs = zip(self.before[variant].texts, self.after[variant].texts, strict=True)
        return 100 * float(np.mean([one == other for one, other in pairs]))


def compare(
    before: Bundle, after: Bundle, clips: int, questions: int, on_clip: Callable[[int], None] = lambda _: None
) -> Comparison:
    """Asks about clips of the test split; `on_clip` is told how many are done.

    All variants that answer take part, and both bundles take turns in a new order each time, so that the same noise of
    the machine meets both.
    """
    names = [name for name, variant in before.manifest.variants.items() if not variant.is_control]
    conversations = {id(bundle): Conversation.open(bundle) for bundle in (before, after)}
    sessions = {
        (id(bundle), name): Session.open(bundle, name, conversations[id(bundle)])
        for bundle in (before, after)
        for name in names
    }
    found = Comparison({name: Side() for name in names}, {name: Side() for name in names})
    sides = {id(before): found.before, id(after): found.after}
    for number in range(clips):
        clip = Clip.make(Split.test, number)
        asked, rng = clip.some_questions(questions), np.random.default_rng(number)
        found.answers += [one.answer for one in asked]
        found.clips += [number] * len(asked)
        for name in rng.permutation(names).tolist():
            window = clip.window(before.manifest.variants[name].frames, before.manifest.vision.image_size)
            for bundle in rng.permutation([id(before), id(after)]).tolist():
                _ask(sessions[bundle, name], window, asked, sides[bundle][name])
        on_clip(number + 1)
    return found


def _ask(session: Session, window: Window, asked: list[Question], side: Side) -> None:
    watched = session.watch(window)
    got = [session.ask(watched, question.text, ClipSet.plain.answer_tokens) for question in asked]
    side.texts += [answer.answer for answer in got]
    side.kept.append(watched.vision.kept)
    first = got[0].milliseconds
    side.vision_ms.append(first.vision)
    side.prefill_ms.append(first.prefill_video + first.prefill_question)
    side.total_ms.append(first.total)
    side.decode_ms += [
        answer.milliseconds.decode / (answer.tokens.generated - 1) for answer in got if answer.tokens.generated > 1
    ]
