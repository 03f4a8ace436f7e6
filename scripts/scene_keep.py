#!/usr/bin/env python3
"""Would a keep that follows the scene pay? A rule picks the smallest keep whose dropped scores are low enough.

ANSWERS are files of `stts-export evaluate --answers` about the same clips, which have the settings clip-tT-kKEEP;
BUNDLE has the smallest of these keeps, and gives scores. Nothing is asked again: each clip has the answers of the keep
that the rule picks.

Example: scene_keep.py out/accuracy answers.jsonl --scores scores.jsonl --out scene-keep.json --plot scene-keep.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer

from stts_calib.accuracy import check_plot_library
from stts_calib.clips import ClipSet
from stts_runtime.bundle import Bundle
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_place
from stts_tools.cameras.answers import Answered, read_answers
from stts_tools.measured import measured, write_measured
from stts_tools.scene_keep.plot import write_scene_plot
from stts_tools.scene_keep.scores import scores_of
from stts_tools.scene_keep.simulate import Row, Trial

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SETS = (ClipSet.plain, ClipSet.hard)


@app.command(help=__doc__)
def simulate(
    bundle: BundleArgument,
    answers: Annotated[list[Path], typer.Argument(help="Answers, .jsonl.")],
    scores: Annotated[Path, typer.Option(help="Scores, .jsonl: read where they are there, else made and appended.")],
    frames: Annotated[int, typer.Option(min=2, help="Of the settings that are compared.")] = 16,
    clips: Annotated[Optional[int], typer.Option(min=4, help="Only the first ones. Default: all.")] = None,
    out: Annotated[Optional[Path], typer.Option(help="JSON to write.")] = None,
    plot: Annotated[Optional[Path], typer.Option(help="Picture to write, .png.")] = None,
) -> None:
    check_place(scores, [".jsonl"])
    if out is not None:
        check_place(out, [".json"])
    if plot is not None:
        check_place(plot, [".png"])
        check_plot_library()
    trial = trial_of(Bundle.open(bundle), [read_answers(path, SETS) for path in answers], frames, clips, scores)
    rows = list(trial.rows())
    for line in as_markdown(rows, trial.names):
        print(line)
    about = f"{len(trial.scores)} test clips, {len(trial.hits)} questions, 95 % intervals"
    if out is not None:
        facts = {"about": about, "keeps": list(trial.names), "giga_macs": trial.giga_macs.round(3).tolist()}
        write_measured(measured(**facts, rows=[row.model_dump() for row in rows]), out)
    if plot is not None:
        write_scene_plot(plot, rows, f"a keep that follows the scene: {about}")


def trial_of(bundle: Bundle, answered: Sequence[Answered], frames: int, clips: int | None, file: Path) -> Trial:
    if len({one.asked for one in answered}) != 1:
        raise UserError("the files of answers are not about the same questions")
    manifest, hits = bundle.manifest, {name: found for one in answered for name, found in one.hits.items()}
    variants = sorted(
        (variant.keep, name)
        for name, variant in manifest.variants.items()
        if (variant.frames, variant.budget) == (frames, "clip") and variant.is_pruned and name in hits
    )
    if len(variants) < 3:
        raise UserError(f"{bundle.folder} and the answers share {len(variants)} keeps of {frames} frames, of 3 needed")
    names, asked = [name for _, name in variants], answered[0].asked.clip_numbers
    numbers = np.unique(asked)[:clips]
    of_these = np.isin(asked, numbers)
    per_token = next(iter(manifest.language.graphs.values())).multiplications.per_token
    tokens = np.array([manifest.variants[name].kept_groups for name in names])
    vision = [next(iter(manifest.variants[name].graphs.values())).multiplications.fixed for name in names]
    return Trial(
        names=names,
        tokens=tokens,
        giga_macs=(np.array(vision) + per_token * tokens) / 1e9,
        look_giga_macs=vision[0] / 1e9,
        hits=np.stack([hits[name][of_these] for name in names], axis=1),
        clip_of=np.searchsorted(numbers, asked[of_these]),
        scores=scores_of(bundle, names[0], numbers.tolist(), SETS, file),
        groups=manifest.vision.groups,
    )


def as_markdown(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The table of the documentation."""
    head = ["setting", "tokens: all, quiet, busy", "all", "quiet", "busy", "against, points", "GMAC", "GMAC, two looks"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        scenes = row.scenes.values()
        tokens = ", ".join(f"{one.mean_tokens:.0f}" for one in scenes)
        right = [f"{one.accuracy.value:.1f} ({one.accuracy.low:.1f} to {one.accuracy.high:.1f})" for one in scenes]
        found = row.scenes["all"].points
        points = "" if found is None else f"`{row.against}`: {found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
        name = f"`{row.setting}`" if row.setting in names else row.setting
        second = "" if row.against is None else f"{row.giga_macs_with_second_look:.1f}"
        lines.append(f"| {' | '.join([name, tokens, *right, points, f'{row.mean_giga_macs:.1f}', second])} |")
    return lines


if __name__ == "__main__":
    sys.exit(run_app(app, "scene_keep.py"))
