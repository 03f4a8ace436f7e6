"""The same ten questions about five synthetic clips, written down as people and five benchmarks do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stts_calib.clips import Clip, Question, Split, write_video

_CLIPS, _EACH = 5, 2
_OPTIONS = 4
_FIFTH = "none of these"
"""NExT-QA has five options, the others four."""
_POOL = 60
"""Clips whose answers serve as wrong options."""


class Written(NamedTuple):
    """A question with options, of which one is right."""

    video: str
    """Its name without a suffix."""
    question: Question
    options: list[str]

    @property
    def at(self) -> int:
        return self.options.index(self.question.answer)

    @property
    def letter(self) -> str:
        return "ABCDE"[self.at]


def write_question_files(folder: Path, size: int) -> Mapping[str, Path]:
    """By layout, a file in a folder of its own, next to the videos of `size` x `size` pixels in `videos`."""
    clips = [Clip.make(Split.test, number) for number in range(_CLIPS)]
    (folder / "videos").mkdir(parents=True)
    for clip in clips:
        write_video(folder / "videos" / f"{clip.name}.mp4", clip, size)
    asked = [
        Written(clip.name, question, _options(question, number))
        for clip in clips
        for number, question in enumerate(clip.some_questions(_EACH))
    ]
    return {layout: write(folder, asked) for layout, write in _LAYOUTS.items()}


def _options(question: Question, seed: int) -> list[str]:
    """Answers to the same kind of question first, then to others."""
    others = [one for number in range(_POOL) for one in Clip.make(Split.validation, number).questions]
    alike = sorted({one.answer for one in others if one.kind == question.kind} - {question.answer})
    unlike = sorted({one.answer for one in others} - {question.answer, *alike})
    rng = np.random.default_rng((seed, len(question.text)))
    wrong = [*rng.permutation(alike).tolist(), *rng.permutation(unlike).tolist()]
    options = [question.answer, *wrong[: _OPTIONS - 1]]
    return [str(one) for one in rng.permutation(options).tolist()]


def _own(folder: Path, asked: Sequence[Written]) -> Path:
    """Half of the questions without options: their answers are written."""
    return _lines(folder / "own.jsonl", [_row(one, number % 2 == 1) for number, one in enumerate(asked)])


def _with_options(folder: Path, asked: Sequence[Written]) -> Path:
    return _lines(folder / "options.jsonl", [_row(one, True) for one in asked])


def _open(folder: Path, asked: Sequence[Written]) -> Path:
    return _lines(folder / "open.jsonl", [_row(one, False) for one in asked])


def _row(one: Written, has_options: bool) -> dict[str, Any]:
    row = {"video": f"videos/{one.video}.mp4", "question": one.question.text, "answer": one.question.answer}
    more = {"options": one.options} if has_options else {}
    return {**row, **more, "kind": one.question.kind}


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _mvbench(folder: Path, asked: Sequence[Written]) -> Path:
    rows = [
        {
            "video": f"{one.video}.mp4",
            "question": one.question.text,
            "candidates": one.options,
            "answer": one.question.answer,
        }
        for one in asked
    ]
    return _json(folder / "mvbench" / "json" / "action_sequence.json", rows)


def _tempcompass(folder: Path, asked: Sequence[Written]) -> Path:
    videos: dict[str, dict[str, list[dict[str, str]]]] = {}
    for one in asked:
        listed = [f"{letter}. {option}" for letter, option in zip("ABCD", one.options, strict=True)]
        entry = {"question": "\n".join([one.question.text, *listed]), "answer": listed[one.at]}
        videos.setdefault(one.video, {}).setdefault("action", []).append(entry)
    return _json(folder / "tempcompass" / "questions" / "multi-choice.json", videos)


def _mlvu(folder: Path, asked: Sequence[Written]) -> Path:
    rows = [
        {
            "video": f"{one.video}.mp4",
            "duration": 15.0,
            "question": one.question.text,
            "candidates": one.options,
            "answer": one.question.answer,
            "question_type": "plotQA",
        }
        for one in asked
    ]
    return _json(folder / "mlvu" / "json" / "1_plotQA.json", rows)


def _video_mme(folder: Path, asked: Sequence[Written]) -> Path:
    """As rows of JSON: the published file is parquet with these columns."""
    rows = [
        {
            "video_id": f"{number:03}",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Technology",
            "url": "",
            "videoID": one.video,
            "question_id": f"{number:03}-1",
            "task_type": "Action Recognition",
            "question": one.question.text,
            "options": [f"{letter}. {option}" for letter, option in zip("ABCD", one.options, strict=True)],
            "answer": one.letter,
        }
        for number, one in enumerate(asked, 1)
    ]
    return _json(folder / "videomme" / "test.json", rows)


def _next_qa(folder: Path, asked: Sequence[Written]) -> Path:
    path = folder / "nextqa" / "val.csv"
    path.parent.mkdir(parents=True)
    columns = ["video", "frame_count", "width", "height", "question", "answer", "qid", "type"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "a0", "a1", "a2", "a3", "a4"])
        for number, one in enumerate(asked):
            about = [one.video, 150, 252, 252, one.question.text, one.at, number, "CW"]
            writer.writerow([*about, *one.options, _FIFTH])
    return path


def _json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content, indent=1))
    return path


_LAYOUTS: Mapping[str, Callable[[Path, Sequence[Written]], Path]] = {
    "own": _own,
    "own, with options": _with_options,
    "own, without options": _open,
    "MVBench": _mvbench,
    "TempCompass": _tempcompass,
    "MLVU": _mlvu,
    "Video-MME": _video_mme,
    "NExT-QA": _next_qa,
}
