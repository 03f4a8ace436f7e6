#!/usr/bin/env python3
"""Compares two files of `stts-export evaluate --answers`, question by question: the same bundle on two engines."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from stts_calib.accuracy.intervals import difference_interval
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_ASKED = itemgetter("setting", "clip", "question")
_FIELDS = itemgetter("clip", "setting", "kind", "question", "right", "answer")


@app.command(help=__doc__)
def compare(
    first: Annotated[Path, typer.Argument(help="Answers, .jsonl.")],
    second: Annotated[Path, typer.Argument(help="Answers to the same questions, .jsonl.")],
) -> None:
    answers, others = read(first), read(second)
    if list(map(_ASKED, answers)) != list(map(_ASKED, others)):
        raise UserError(f"{first} and {second} are not about the same questions")
    pairs = list(zip(answers, others, strict=True))
    for setting, of_setting in groupby(pairs, lambda pair: str(pair[0]["setting"])):
        print(line(setting, list(of_setting)))
    for one, other in pairs:
        if one["answer"] != other["answer"]:
            print(f"  {one['setting']}, clip {one['clip']}: {one['question']} (right: {one['right']})")
            print(f"    {one['answer']!r} and {other['answer']!r}")


def read(path: Path) -> list[dict[str, Any]]:
    """Raises `UserError` if these are no answers about two clips or more, which an interval needs."""
    try:
        answers = [json.loads(text) for text in path.read_text().splitlines()]
        clips = {clip for clip, *_ in map(_FIELDS, answers)}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is not a file of `stts-export evaluate --answers`: {error!r}") from None
    if len(clips) < 2:
        raise UserError(f"{path} holds answers about {len(clips)} clips; a comparison needs two")
    return answers


def line(setting: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    hits = np.array([[one["answer"] == one["right"] for one in pair] for pair in pairs], dtype=np.float64)
    clips = np.array([one["clip"] for one, _ in pairs])
    gap = difference_interval(hits[:, 1] - hits[:, 0], clips)
    differing = {one["clip"] for one, other in pairs if one["answer"] != other["answer"]}
    same = len(set(clips.tolist())) - len(differing)
    first, second = 100 * hits.mean(axis=0)
    return (
        f"{setting}: {first:.1f} and {second:.1f} % right, second less first {gap.value:+.2f} points "
        f"({gap.low:+.2f} to {gap.high:+.2f}); all answers the same on {same} of {len(set(clips.tolist()))} clips"
    )


if __name__ == "__main__":
    sys.exit(run_app(app, "compare_answers.py"))
