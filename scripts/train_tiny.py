#!/usr/bin/env python3
"""Trains the small checkpoint of this repository on synthetic clips: under ten minutes on one H100.

Example: train_tiny.py --out checkpoints/tiny
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stts_export.checkpoint.write import replaceable_checkpoint
from stts_export.training.loop import Report, Run
from stts_runtime.bundle.publish import check_free
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_tools.checkpoints.sizes import SIZES, size_named
from stts_tools.tiny.card import Provenance, model_card
from stts_tools.tiny.recipe import TINY
from stts_tools.tiny.start import start_run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def train(
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and clips.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.01, help="Shortens the schedule to fit.")] = TINY.minutes,
    steps: Annotated[int, typer.Option(min=1)] = TINY.steps,
    opening_steps: Annotated[int, typer.Option(min=0, help="Of them with 8 frames only.")] = TINY.opening_steps,
    clips: Annotated[int, typer.Option(min=1, help="Clips a step.")] = TINY.clips_per_step,
    validation: Annotated[int, typer.Option(min=1, help="Validation clips.")] = TINY.validation_clips,
    workers: Annotated[
        Optional[int], typer.Option(min=0, help="Processes that make clips. Default: one a core, less one.")
    ] = None,
    commit: Annotated[Optional[str], typer.Option(help="For the model card. Default: git's HEAD.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is a checkpoint.")] = False,
) -> None:
    chosen = size_named(size)
    # Whatever could go wrong at the end is tried before the minutes are spent.
    name = _device_name(device)
    command = shlex.join(["python", "scripts/train_tiny.py", *sys.argv[1:]])
    provenance = Provenance(name, commit or _head(), command)
    replaceable = replaceable_checkpoint(force)
    check_free(out, replaceable)
    recipe = replace(
        TINY,
        seed=seed,
        minutes=minutes,
        steps=steps,
        opening_steps=opening_steps,
        clips_per_step=clips,
        validation_clips=validation,
    )
    run = start_run(recipe, chosen, device, max((os.cpu_count() or 1) - 1, 0) if workers is None else workers)
    run.write(out, model_card(recipe, chosen, _watched(run), provenance), replaceable)
    print(out)


def _device_name(device: str) -> str:
    if device == "cpu":
        return platform.processor() or platform.machine()
    if device != "cuda":
        raise UserError(f"unknown device {device!r}; there is cuda and cpu")
    if not torch.cuda.is_available():
        raise UserError("no CUDA device was found; --device cpu trains small sizes, slowly")
    return torch.cuda.get_device_name()


def _watched(run: Run) -> Report:
    """Shows a bar on a terminal and lines elsewhere; returns the last report."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    last: Report | None = None
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1.0)
        for last in run.train():
            bar.update(task, completed=last.done, description=f"step {last.step}, loss {last.answer_loss:.3f}")
            if last.accuracy or not console.is_terminal:
                console.print(_line(last), soft_wrap=True)
    assert last is not None
    return last


def _line(report: Report) -> str:
    found = "".join(f"; {name}: {100 * kinds['all']:.1f} %" for name, kinds in report.accuracy.items())
    return (
        f"step {report.step}, {report.seconds:.0f} s: answers {report.answer_loss:.4f}, "
        f"scores {report.score_loss:.5f}{found}"
    )


def _head() -> str:
    """The commit of this repository, marked if files differ from it."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(run_app(app, "train_tiny.py"))
