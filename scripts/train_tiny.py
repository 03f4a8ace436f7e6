#!/usr/bin/env python3
"""Trains the small checkpoint of this repository on synthetic clips, in parts that one GPU does in minutes each.

OUT gets three things: checkpoint/, state/, from which a later part goes on, and log.jsonl.

First part:  train_tiny.py --out out/trained --part-minutes 9
Later parts: train_tiny.py --out out/trained --from out/trained --part-minutes 9
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Optional

import torch
import typer
from rich.console import Console

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
    out: Annotated[Path, typer.Option(help="Folder for all that is written; an earlier part's is replaced.")],
    earlier: Annotated[Optional[Path], typer.Option("--from", help="OUT of the part to go on with.")] = None,
    part_minutes: Annotated[float, typer.Option(min=0.01, help="Of this part. Default: all.")] = math.inf,
    minutes: Annotated[float, typer.Option(min=0.01, help="Of all parts: the schedule fits them.")] = TINY.minutes,
    steps: Annotated[int, typer.Option(min=1, help="Of all parts, at most.")] = TINY.steps,
    unpruned: Annotated[bool, typer.Option("--unpruned", help="The twin: same clips, every token kept.")] = False,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and clips.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Frames a step, of all its clips.")] = TINY.frames_per_step,
    validation: Annotated[int, typer.Option(min=1, help="Validation clips of each set.")] = TINY.validation_clips,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps.")] = TINY.validate_every,
    report_every: Annotated[int, typer.Option(min=1, help="Steps.")] = TINY.report_every,
    fuse: Annotated[bool, typer.Option("--fuse/--no-fuse", help="Compile the blocks of the tower.")] = True,
    workers: Annotated[
        Optional[int], typer.Option(min=0, help="Processes that make clips. Default: one a core, less two.")
    ] = None,
    commit: Annotated[Optional[str], typer.Option(help="For the model card. Default: git's HEAD.")] = None,
) -> None:
    chosen = size_named(size)
    # Whatever could go wrong at the end is tried before the minutes are spent.
    name = _device_name(device)
    command = shlex.join(["python", "scripts/train_tiny.py", *sys.argv[1:]])
    provenance = Provenance(name, commit or _head(), command)
    replaceable = replaceable_checkpoint(True)
    check_free(out / "checkpoint", replaceable)
    recipe = replace(
        TINY, seed=seed, minutes=minutes, steps=steps, frames_per_step=frames, validation_clips=validation,
        validate_every=validate_every, report_every=report_every, pruned=not unpruned,
    )  # fmt: skip
    processes = max((os.cpu_count() or 1) - 2, 0) if workers is None else workers
    run = start_run(recipe, chosen, device, processes, fuse)
    log = _Log(out, earlier)
    if earlier is not None:
        run.resume(earlier / "state")
    log.write({"command": command, "device": name, "torch": torch.__version__, "code": provenance.commit,
               "workers": processes, "from_step": run.progress.step})  # fmt: skip
    last = _watched(run, part_minutes, log, out / "state")
    run.write(out / "checkpoint", model_card(recipe, chosen, last, provenance), replaceable)
    print(out)


class _Log:
    """One JSON object a line, all parts one after the other; also shown on stderr."""

    def __init__(self, out: Path, earlier: Path | None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path = out / "log.jsonl"
        before = earlier / "log.jsonl" if earlier is not None else None
        self._path.write_text(before.read_text() if before is not None and before.is_file() else "")
        self._console = Console(stderr=True, highlight=False, markup=False)

    def write(self, record: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def report(self, report: Report) -> None:
        self.write(asdict(report))
        self._console.print(_line(report), soft_wrap=True)


def _watched(run: Run, minutes: float, log: _Log, state: Path) -> Report:
    """Logs every report, and saves with every validation; returns the last, which is one."""
    last: Report | None = None
    for last in run.train(minutes):
        log.report(last)
        if last.accuracy:
            run.save(state)
    assert last is not None
    return last


def _line(report: Report) -> str:
    found = "".join(f"; {name}: {100 * kinds['all']:.1f} %" for name, kinds in report.accuracy.items())
    return (
        f"step {report.step}, {report.seconds:.0f} s, {report.done:.0%}: answers {report.answer_loss:.4f}, scores "
        f"{report.score_loss:.5f}, waiting {report.waiting_ms:.0f} ms a step{found}"
    )


def _device_name(device: str) -> str:
    if device == "cpu":
        return platform.processor() or platform.machine()
    if device != "cuda":
        raise UserError(f"unknown device {device!r}; there is cuda and cpu")
    if not torch.cuda.is_available():
        raise UserError("no CUDA device was found; --device cpu trains small sizes, slowly")
    return torch.cuda.get_device_name()


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
