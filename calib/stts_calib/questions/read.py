"""From a file of questions to those that can be asked, and why the others cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stts_calib.questions.layouts import Layout, layout_of
from stts_calib.questions.question import LeftOut, OwnQuestion
from stts_calib.questions.rows import Row, read_rows
from stts_calib.questions.videos import VideoFolder
from stts_runtime.errors import UserError
from stts_runtime.places import shown


@dataclass(frozen=True)
class QuestionFile:
    path: Path
    layout: str
    questions: Sequence[OwnQuestion]
    """With the paths of their videos, whether anything is there or not."""
    left_out: Sequence[LeftOut]
    sha256: str
    videos: Path
    """Their folder."""


def read_questions(path: Path, videos: Path | None = None) -> QuestionFile:
    """`videos` is the folder of the videos; None: that of the file. Which layout it is, the first row of one tells.

    Raises `UserError` if the file cannot be read, or no question of it can be asked.
    """
    rows = list(read_rows(path))
    if not rows:
        raise UserError(f"{shown(path)} holds no questions")
    objects = [one for one in rows if isinstance(one, Row)]
    if not objects:
        raise _none_left(path, [one for one in rows if isinstance(one, LeftOut)])
    layout, folder = layout_of(objects, path), VideoFolder(videos or path.absolute().parent)
    read = [one if isinstance(one, LeftOut) else _question(one, layout, path, folder) for one in rows]
    questions = [one for one in read if isinstance(one, OwnQuestion)]
    left_out = [one for one in read if isinstance(one, LeftOut)]
    if not questions:
        raise _none_left(path, left_out)
    return QuestionFile(path, layout.name, questions, left_out, _sha256(path), folder.folder)


def _question(row: Row, layout: Layout, path: Path, folder: VideoFolder) -> OwnQuestion | LeftOut:
    try:
        question = layout.read(row, path).checked()
        return replace(question, video=str(folder.find(question.video)))
    except UserError as error:
        return LeftOut(row.place, str(error))


def _none_left(path: Path, left_out: Sequence[LeftOut]) -> UserError:
    place, reason = left_out[0]
    return UserError(f"no question of {shown(path)} can be asked; {place}: {reason}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
