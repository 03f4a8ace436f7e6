#!/usr/bin/env python3
"""Draws what pruned runs keep of some test clips, a row of frames each, and prints what they answer about them.

Needs a bundle with 16 frames. Example: kept_sheet.py out/tiny kept-sheet.jpg --clip plain:0 --clip hard:14
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

import stts_runtime
from stts_calib.clips import Clip, ClipSet, Split
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.overlay import caption, dimmed
from stts_runtime.records import Answer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FRAMES = 16
SIDE = 112
"""Pixels of a frame in the picture."""
GAP = 2
DARK = (24, 24, 24)


@app.command(help=__doc__)
def draw(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Argument(help="Picture to write, .jpg.")],
    clips: Annotated[list[str], typer.Option("--clip", help="SET:NUMBER of a test clip.")],
    keep: Annotated[list[float], typer.Option(help="A keep ratio of the bundle; repeatable.")] = [0.5],  # noqa: B006
    columns: Annotated[int, typer.Option(min=2, max=FRAMES, help="Frames in a row; evenly spaced ones.")] = 8,
) -> None:
    check_place(out, [".jpg"])
    chosen = [clip_of(name) for name in clips]
    with stts_runtime.load(bundle) as model:
        size = model.bundle.manifest.vision.image_size
        rows = []
        for clip in chosen:
            window = clip.window(FRAMES, size)
            questions = [question.text for question in clip.questions]
            for ratio in keep:
                answers = model.ask(window.frames, questions, keep=ratio, frames=FRAMES, times=window.times_seconds)
                name = f"{clip.name}, keep {ratio:g}"
                print(told(name, clip, answers))
                rows.append(row(name, answers[0], columns))
    picture = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    with written_whole(out) as scratch:
        scratch.write_bytes(picture.tobytes())


def clip_of(name: str) -> Clip:
    kind, _, number = name.partition(":")
    if kind not in ClipSet.__members__ or not number.isdecimal():
        raise UserError(f"--clip {name}: it should be plain:NUMBER or hard:NUMBER")
    return Clip.make(Split.test, int(number), ClipSet[kind])


def told(name: str, clip: Clip, answers: list[Answer]) -> str:
    """How often somebody who moves lost all groups, and the questions that were answered wrongly."""
    kept = answers[0].kept
    sightings = clip.moving_objects(answers[0].window.times_seconds, round(kept.shape[1] ** 0.5))
    lost = int((~(sightings & kept).any(axis=(1, 2))).sum())
    pairs = [(one, answer.answer) for one, answer in zip(clip.questions, answers, strict=True)]
    wrong = [f"{one.text} {said} (right: {one.answer})" for one, said in pairs if not one.is_right(said)]
    moving = f"{lost} of {len(sightings)} sightings of a moving object lost all groups"
    return "\n  ".join([f"{name}: {moving}, {len(pairs) - len(wrong)} of {len(pairs)} answers right", *wrong])


def row(name: str, answer: Answer, columns: int) -> NDArray[np.uint8]:
    """A line of text, and frames with their dropped groups dark; BGR."""
    shown = np.linspace(0, len(answer.kept) - 1, columns).round().astype(int)
    frames = [frame(answer, number) for number in shown]
    strip = np.hstack([cv2.copyMakeBorder(one, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=DARK) for one in frames])
    return np.vstack([caption(strip.shape[1], [f"{name}: {answer.kept.sum()} of {answer.kept.size} groups"]), strip])


def frame(answer: Answer, number: int) -> NDArray[np.uint8]:
    pixels = cv2.resize(answer.seen.frames[number][..., ::-1], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    seconds = answer.window.times_seconds[number]
    return np.vstack([caption(SIDE, [f"{seconds:.0f} s"]), dimmed(pixels.astype(np.uint8), answer.kept[number])])


if __name__ == "__main__":
    sys.exit(run_app(app, "kept_sheet.py"))
