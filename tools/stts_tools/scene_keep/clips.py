"""Test clips as every keep ratio of a bundle answers them, with the scores that a rule may go by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.session import Session

QUESTIONS = 4
"""About each clip, at most."""
DIGITS = 5
"""Of stored scores."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeepSeen(_Part):
    """One variant on one clip."""

    keep: float
    tokens: int
    hits: list[bool]
    """For each question, whether its answer is right."""
    vision_ms: float
    total_ms: float
    """Vision, prefill of the video and all questions."""


class ClipSeen(_Part):
    """One clip, as all variants saw it."""

    number: int
    name: str
    moving: float
    """Of the groups in frames 2 to T, the share in which something moves."""
    scores: list[list[float]]
    """(T, G), of the variant with the smallest keep."""
    keeps: list[KeepSeen]
    """Ascending."""

    @property
    def later_scores(self) -> NDArray[np.float64]:
        """Those of frames 2 to T, the highest first: the first frame is kept whole, whatever its scores."""
        return np.sort(np.array(self.scores[1:]).reshape(-1))[::-1]

    @property
    def groups(self) -> int:
        return len(self.scores[0])


class _Variant(NamedTuple):
    keep: float
    tokens: int
    session: Session


class Watcher:
    """All variants of a bundle with one number of frames, loaded."""

    def __init__(self, bundle: Bundle, frames: int) -> None:
        """Raises `UserError` if there are not two of them to choose from."""
        self._bundle, self._frames = bundle, frames
        conversation = Conversation.open(bundle)
        self._variants = [
            _Variant(variant.keep, variant.kept_groups, Session.open(bundle, name, conversation))
            for name, variant in sorted(bundle.manifest.variants.items(), key=lambda item: item[1].keep)
            if variant.frames == frames and variant.budget == "clip" and variant.keep < 1
        ]
        if len(self._variants) < 2:
            raise UserError(f"{bundle.folder} has not two keeps below 1 with {frames} frames to choose from")

    def watch(self, number: int) -> ClipSeen:
        """Test clip `number` of both sets, which take turns."""
        clip = Clip.in_turn(Split.test, number, (ClipSet.plain, ClipSet.hard))
        vision = self._bundle.manifest.vision
        window = clip.window(self._frames, vision.image_size)
        questions = clip.some_questions(QUESTIONS)
        scores: dict[float, NDArray[np.float32]] = {}
        seen: list[KeepSeen] = []
        # In another order for every clip, so that none always comes first, on a cold cache.
        for turn in np.random.default_rng(number).permutation(len(self._variants)).tolist():
            keep, tokens, session = self._variants[turn]
            watched = session.watch(window)
            answers = [session.ask(watched, one.text, clip.clip_set.answer_tokens) for one in questions]
            assert watched.vision.scores is not None
            scores[keep] = watched.vision.scores.copy()
            hits = [one.is_right(answer.answer) for one, answer in zip(questions, answers, strict=True)]
            spent = [answer.milliseconds for answer in answers]
            total = sum(one.total for one in spent)
            seen.append(
                KeepSeen(keep=keep, tokens=tokens, hits=hits, vision_ms=spent[0].vision, total_ms=round(total, 3))
            )
        moving = clip.moving(window.times_seconds.tolist(), vision.groups_per_side)
        return ClipSeen(
            number=number,
            name=clip.name,
            moving=round(float(moving[1:].mean()), DIGITS),
            scores=scores[self._variants[0].keep].astype(float).round(DIGITS).tolist(),
            keeps=sorted(seen, key=lambda one: one.keep),
        )


def watched_clips(bundle: Bundle, frames: int, count: int, journal: Path) -> Iterator[ClipSeen]:
    """The first `count` clips; those that `journal` holds are read, the others are appended to it, a line each."""
    known = read_clips(journal) if journal.exists() else []
    yield from known[:count]
    if len(known) >= count:
        return
    watcher = Watcher(bundle, frames)
    with journal.open("a", encoding="utf-8") as file:
        for number in range(len(known), count):
            seen = watcher.watch(number)
            file.write(seen.model_dump_json() + "\n")
            file.flush()
            yield seen


def read_clips(journal: Path) -> list[ClipSeen]:
    """Raises `UserError` if these are no clips in the order of their numbers."""
    try:
        clips = [ClipSeen.model_validate_json(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    except (ValidationError, UnicodeError):
        raise UserError(f"{journal} is no journal of this script; name another file") from None
    if [one.number for one in clips] != list(range(len(clips))):
        raise UserError(f"{journal} lacks clips; name another file")
    return clips
