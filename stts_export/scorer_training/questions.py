"""What is asked about the videos: questions that are given, or usual ones. No answers are needed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.errors import UserError
from stts_runtime.handed_over import small_text

_MOST_BYTES = 1 << 27

USUAL = (
    "What happens in this video?",
    "What moves in this video?",
    "How many people can be seen?",
    "What does the person do?",
    "Which objects can be seen?",
    "What changes from the beginning to the end?",
    "Does anything appear or disappear?",
    "What happens first?",
    "What happens last?",
    "Where does this take place?",
    "What colour is the thing that moves?",
    "From which side does something come, and where does it go?",
)


@dataclass(frozen=True)
class Questions:
    of_all: Sequence[str] = ()
    """About every video."""
    of_one: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """About a video, by its name in the folder."""

    def about_others(self, names: Collection[str]) -> list[str]:
        """Videos that something is asked about and that are not among these."""
        return sorted(self.of_one.keys() - set(names))

    def draw(self, name: str, count: int, rng: np.random.Generator) -> list[str]:
        """`count` different questions about a video, or all if there are fewer; usual ones if there are none."""
        all_of_it = [*self.of_one.get(name, ()), *self.of_all] or USUAL
        return [all_of_it[place] for place in rng.permutation(len(all_of_it))[:count]]


def read_questions(path: Path | None, check: Callable[[str], None]) -> Questions:
    """A text file with a question a line, or JSON Lines: `{"question": ..., "video": NAME}`, NAME only if it is about
    one video. None: the usual ones.

    `check` raises for a question that cannot be asked. Raises `UserError` with the line that is wrong.
    """
    if path is None:
        return Questions()
    of_all, of_one = list[str](), defaultdict[str, list[str]](list)
    text = small_text(path, _MOST_BYTES, "a file of questions, .txt or .jsonl", "questions")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            question, video = _parsed(line) if path.suffix == ".jsonl" else (line.strip(), None)
            check(question)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        (of_all if video is None else of_one[video]).append(question)
    if not of_all and not of_one:
        raise UserError(f"{path} holds no question")
    return Questions(of_all, of_one)


def _parsed(line: str) -> tuple[str, str | None]:
    try:
        found: Any = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("question"), str):
        raise UserError('should be an object with text under "question"')
    video = found.get("video")
    if not isinstance(video, str | None):
        raise UserError(f'"video" should be a name, got {video!r}')
    return found["question"], video
