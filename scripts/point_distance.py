#!/usr/bin/env python3
"""How far from the true place a bundle's answers point, for every keep ratio, over test clips.

Example: point_distance.py out/live --clips 200 --json point-distance.json
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_calib.accuracy.distance import Distances, PointedTo, clips_to_point_at, point
from stts_calib.clips import Split
from stts_runtime import load
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.outputs import check_place
from stts_tools.measured import measured, write_measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def measure(
    bundle: BundleArgument,
    clips: Annotated[int, typer.Option(min=1, help="Test clips with somebody to point to.")] = 200,
    report: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Also as a file with every answer.")
    ] = None,
) -> None:
    if report is not None:
        check_place(report, (".json",))
    answers = _answers(bundle, clips)
    found = {name: Distances.of(of_variant) for name, of_variant in answers.items()}
    for name, one in found.items():
        print(
            f"{name}: {one.questions} questions about {clips} clips, {one.pointed} answered with a point, {one.inside} "
            f"within the thing; distance: median {one.median}, 90 % within {one.ninety_percent} of the frame's side"
        )
    if report is not None:
        content = measured(
            clips=clips,
            distances={name: one.model_dump() for name, one in found.items()},
            answers={name: [_record(one) for one in of_variant] for name, of_variant in answers.items()},
        )
        write_measured(content, report)


def _answers(bundle: Path, clips: int) -> dict[str, list[PointedTo]]:
    """By variant: all that answer, control variants left out."""
    model = load(bundle)
    names = sorted(model.bundle.answering)
    answers: dict[str, list[PointedTo]] = {name: [] for name in names}
    for done, (clip, questions) in enumerate(clips_to_point_at(Split.test, clips), 1):
        for name in names:
            frames, size = model.bundle.answering[name].frames, model.bundle.manifest.vision.image_size
            answers[name] += point(model.session(name), clip, questions, frames, size)
        print(f"{done} of {clips} clips", file=sys.stderr)
    return answers


def _record(one: PointedTo) -> dict[str, object]:
    distance = None if one.distance is None else round(one.distance, 4)
    return {"clip": one.clip, "question": one.question.text, "answer": one.answer, "distance": distance}


if __name__ == "__main__":
    sys.exit(run_app(app, "point_distance.py"))
