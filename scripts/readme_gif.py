#!/usr/bin/env python3
"""Makes the moving picture of the README: frames of a clip, what a pruned run keeps of each, then its answer.

Example: readme_gif.py out/tiny out/clip.mp4 docs/readme.gif --ask "What colour was the moving vehicle?"
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

import stts_runtime
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.overlay import dimmed
from stts_runtime.records import Answer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SIDE, MARGIN, BELOW = 264, 16, 84
"""Pixels: of a frame, around it, and of the text below."""
WIDTH = 2 * SIDE + 3 * MARGIN
COLOURS = 256
FRAME_MS, ANSWER_MS = 450, 3500
PAPER, INK, FAINT, BAR = (255, 255, 255), (31, 45, 43), (110, 125, 122), (0, 121, 107)


@app.command(help=__doc__)
def draw(
    bundle: BundleArgument,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A clip.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Picture to write, .gif.")],
    ask: Annotated[str, typer.Option(help="The question.")],
    keep: Annotated[float, typer.Option(help="A keep ratio of the bundle.")] = 0.5,
) -> None:
    check_place(out, [".gif"])
    with stts_runtime.load(bundle) as model:
        answer = model.ask(video, ask, keep=keep)
    count = len(answer.kept)
    pictures = [picture(answer, index, "") for index in range(count)]
    pictures.append(picture(answer, count - 1, answer.answer))
    first, *others = of_one_palette(pictures)
    with written_whole(out) as scratch:
        first.save(
            scratch, "GIF", save_all=True, append_images=others, loop=0, duration=[FRAME_MS] * count + [ANSWER_MS]
        )


def of_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """With a palette for each picture, what moves would change its colour."""
    width, height = pictures[0].size
    all_of_them = Image.new("RGB", (width, height * len(pictures)))
    for row, one in enumerate(pictures):
        all_of_them.paste(one, (0, row * height))
    palette = all_of_them.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    return [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]


def picture(answer: Answer, index: int, said: str) -> Image.Image:
    """One frame as the camera sent it, and as the model saw it; below, the tokens so far and the answer."""
    frames = answer.seen.frames
    page = Image.new("RGB", (WIDTH, 2 * MARGIN + 20 + SIDE + BELOW), PAPER)
    pen = ImageDraw.Draw(page)
    seen = dimmed(frames[index], answer.kept[index])
    for column, (name, shown) in enumerate((("the camera", frames[index]), ("what the model keeps", seen))):
        left = MARGIN + column * (SIDE + MARGIN)
        pen.text((left, MARGIN - 6), name, FAINT, font(15))
        page.paste(Image.fromarray(np.ascontiguousarray(shown)).resize((SIDE, SIDE)), (left, MARGIN + 18))
    seconds = f"{answer.seen.times_seconds[index]:.0f} s"
    pen.text((WIDTH - MARGIN, MARGIN - 6), seconds, FAINT, font(15), anchor="ra")
    below = MARGIN + 18 + SIDE + 10
    kept = int(answer.kept[: index + 1].sum())
    full = WIDTH - 2 * MARGIN
    pen.rectangle((MARGIN, below, MARGIN + full, below + 6), (224, 236, 234))
    pen.rectangle((MARGIN, below, MARGIN + full * kept // answer.kept.size, below + 6), BAR)
    pen.text((WIDTH - MARGIN, below + 12), f"{kept} of {answer.kept.size} tokens", FAINT, font(15), anchor="ra")
    pen.text((MARGIN, below + 12), answer.question, INK, font(18))
    pen.text((MARGIN, below + 38), said or "...", BAR if said else FAINT, font(26))
    return page


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    sys.exit(run_app(app, "readme_gif.py"))
