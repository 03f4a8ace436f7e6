#!/usr/bin/env python3
"""Accuracy by kind of camera, of a file of `stts-export evaluate --answers`: all settings, and what they lose to one.

Example: accuracy_by_camera.py out/answers.jsonl --set plain --set hard
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from stts_calib.accuracy.intervals import difference_interval
from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_FEWEST_CLIPS = 2


class Hit(NamedTuple):
    """One answer."""

    clip: int
    question: str
    right: bool


@app.command(help=__doc__)
def by_camera(
    answers: Annotated[Path, typer.Argument(help="Answers, .jsonl.")],
    clip_set: Annotated[list[ClipSet], typer.Option("--set", help="As `evaluate` was given them, in that order.")],
    against: Annotated[str, typer.Option(help="The setting that others are compared with.")] = "full-t16",
) -> None:
    hits = read(answers, clip_set)
    settings = list(dict.fromkeys(setting for setting, _ in hits))
    if against not in settings:
        raise UserError(f"{answers} has no setting {against!r}; it has {', '.join(settings)}")
    cameras = list(dict.fromkeys(camera for _, camera in hits))
    table = Table("setting", *(f"{one} ({len(hits[against, one])} questions)" for one in cameras))
    for setting in settings:
        table.add_row(setting, *(cell(hits[setting, one], hits[against, one]) for one in cameras))
    Console(width=200).print(table)


def read(path: Path, clip_sets: list[ClipSet]) -> dict[tuple[str, str], list[Hit]]:
    """Answers by setting and camera, and by setting and `all`."""
    found: dict[tuple[str, str], list[Hit]] = defaultdict(list)
    for line in path.read_text().splitlines():
        one = json.loads(line)
        clip = clip_of(one["clip"], tuple(clip_sets))
        questions = {question.text: question for question in clip.questions}
        if one["question"] not in questions:
            raise UserError(f"clip {one['clip']} of {path} is not of these sets: nobody asks {one['question']!r} of it")
        hit = Hit(one["clip"], one["question"], questions[one["question"]].is_right(one["answer"]))
        for camera in ("all", clip.condition.value):
            found[one["setting"], camera].append(hit)
    return found


@cache
def clip_of(number: int, clip_sets: tuple[ClipSet, ...]) -> Clip:
    return Clip.in_turn(Split.test, number, clip_sets)


def cell(hits: list[Hit], others: list[Hit]) -> str:
    """Percent right, and the difference to the others with its interval of 95 %."""
    assert [one[:2] for one in hits] == [one[:2] for one in others], "settings are asked the same"
    right = np.array([[one.right for one in side] for side in (hits, others)], dtype=np.float64)
    clips = np.array([one.clip for one in hits])
    percent = f"{100 * right[0].mean():.1f}"
    if hits is others or len(set(clips.tolist())) < _FEWEST_CLIPS:
        return percent
    gap = difference_interval(right[0] - right[1], clips)
    return f"{percent}  {gap.value:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})"


if __name__ == "__main__":
    sys.exit(run_app(app, "accuracy_by_camera.py"))
