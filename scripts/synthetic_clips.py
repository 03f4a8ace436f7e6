#!/usr/bin/env python3
"""Writes many synthetic clips to train a scorer on, as .npz of frames, and questions about them, without answers.

Example: synthetic_clips.py out/clips --clips 2000 --frames 32 && stts-export train-scorer CHECKPOINT \
    --videos out/clips --questions out/clips.jsonl --out OUT
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import cv2
import numpy as np
import typer

from stts_calib.clips import DURATION_SECONDS, Clip, ClipSet, Split
from stts_runtime.bundle.publish import published
from stts_runtime.cli.entry import run_app
from stts_runtime.outputs import check_place, written_whole

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def write(
    out: Annotated[Path, typer.Argument(help="Folder to write; the questions go next to it, OUT.jsonl.")],
    clips: Annotated[int, typer.Option(min=1, help="Of all sets together.")] = 2000,
    first: Annotated[int, typer.Option(min=0, help="Number of the first clip of a set.")] = 0,
    frames: Annotated[int, typer.Option(min=2, max=512, help="Of a clip.")] = 32,
    size: Annotated[int, typer.Option(min=84, max=2016, help="Pixels along a side, the model's own.")] = 252,
    clip_set: Annotated[Optional[list[ClipSet]], typer.Option("--set", help="Repeatable. Default: both.")] = None,
    workers: Annotated[Optional[int], typer.Option(min=1, help="Processes. Default: one a core.")] = None,
) -> None:
    questions = out.with_name(f"{out.name}.jsonl")
    check_place(questions, (".jsonl",))
    sets = clip_set or list(ClipSet)
    with published(out) as folder, written_whole(questions) as scratch, ProcessPoolExecutor(workers) as pool:
        make = partial(_write_clip, folder, frames, size, sets)
        with scratch.open("w") as stream:
            for lines in pool.map(make, range(first * len(sets), first * len(sets) + clips), chunksize=4):
                stream.write(lines)
    print(out)


def _write_clip(folder: Path, frames: int, size: int, sets: list[ClipSet], number: int) -> str:
    """Returns its questions, a line of JSON each."""
    cv2.setNumThreads(1)
    clip, times = Clip.in_turn(Split.train, number, sets), np.linspace(0, DURATION_SECONDS, frames)
    np.savez(folder / f"{clip.name}.npz", frames=clip.pictures(times.tolist(), size), times_seconds=times)
    return "".join(_lines(clip))


def _lines(clip: Clip) -> Iterator[str]:
    for question in clip.questions:
        yield json.dumps({"video": f"{clip.name}.npz", "question": question.text}) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_app(app, "synthetic_clips.py"))
