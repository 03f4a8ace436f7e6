#!/usr/bin/env python3
"""Writes a synthetic test clip as a video, and prints its questions with their exact answers.

Example: synthetic_clip.py out/clip.mp4 --number 7
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from stts_calib.clips import Clip, ClipSet, Split, write_video
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def write(
    out: Annotated[Path, typer.Argument(help="Video to write, .mp4.")],
    number: Annotated[int, typer.Option(min=0, help="Which clip of the split.")] = 0,
    split: Annotated[str, typer.Option(help=f"One of {', '.join(one.name for one in Split)}.")] = "test",
    clip_set: Annotated[ClipSet, typer.Option("--set", help="plain, or hard: see docs/accuracy.md.")] = ClipSet.plain,
    size: Annotated[int, typer.Option(min=84, max=2016, help="Pixels along a side.")] = 252,
    as_json: Annotated[bool, typer.Option("--json", help="Print the questions as one line of JSON.")] = False,
) -> None:
    if split not in Split.__members__:
        raise UserError(f"unknown split {split!r}; there is {', '.join(Split.__members__)}")
    clip = Clip.make(Split[split], number, clip_set)
    write_video(out, clip, size)
    if as_json:
        print(json.dumps([{"kind": one.kind, "text": one.text, "answer": one.answer} for one in clip.questions]))
        return
    for question in clip.questions:
        print(f"{question.text}  {question.answer}")


if __name__ == "__main__":
    sys.exit(run_app(app, "synthetic_clip.py"))
