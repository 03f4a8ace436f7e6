"""`stts-export train-scorer`: a plain Molmo2 gets a trained scorer, and stays as it is otherwise."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from stts_export.extras import check_train_extra
from stts_runtime.cli.options import JsonOption
from stts_runtime.cli.steps import steps as shown_steps
from stts_runtime.errors import UserError
from stts_runtime.hub_id import as_typed
from stts_runtime.text import counted

if TYPE_CHECKING:
    from stts_export.scorer_training.train import Taught

_MOST_WORKERS = 8

TRAINING = "Training"

VideosOption = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER", help="Folder of videos, with subfolders; or of .npz files with frames and times_seconds."
    ),
]
QuestionsOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="One question per line, .txt; or with the video's name, .jsonl.",
        show_default="twelve usual ones",
    ),
]
FramesOption = Annotated[
    Optional[list[int]],
    typer.Option(min=2, help="Frames per window, at most; repeatable, steps alternate.", show_default="64"),
]
KeepOption = Annotated[
    Optional[list[float]], typer.Option(help="Keep ratio, 0 to 1; repeatable, steps alternate.", show_default="0.5")
]
PruneAtOption = Annotated[
    Optional[int],
    typer.Option(min=0, help="Layer whose features are scored.", show_default="the checkpoint's, or the last but one"),
]
ChangeStepsOption = Annotated[
    int,
    typer.Option(
        min=0, help="Steps at the start that teach only change between frames, which is fast.", rich_help_panel=TRAINING
    ),
]
MinutesOption = Annotated[
    Optional[float],
    typer.Option(
        min=0.01, help="Time limit of the whole run, in minutes.", show_default="none", rich_help_panel=TRAINING
    ),
]
WorkersOption = Annotated[
    Optional[int],
    typer.Option(
        min=0, help="Processes that read videos.", show_default="one per core, at most 8", rich_help_panel=TRAINING
    ),
]


def train_scorer_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            parser=as_typed,
            help="Molmo2: Hugging Face folder, or OWNER/NAME on the Hugging Face hub.",
        ),
    ],
    videos: VideosOption,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Checkpoint to write; the run is kept in FOLDER.training meanwhile.")
    ],
    questions: QuestionsOption = None,
    frames: FramesOption = None,
    keep: KeepOption = None,
    prune_at: PruneAtOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.", rich_help_panel=TRAINING)] = 2000,
    change_steps: ChangeStepsOption = 500,
    minutes: MinutesOption = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips per step, over all GPUs.", rich_help_panel=TRAINING)] = 8,
    rate: Annotated[
        float, typer.Option(min=1e-8, max=1.0, help="Peak learning rate.", rich_help_panel=TRAINING)
    ] = 3e-4,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of initial weights, clips and questions.", rich_help_panel=TRAINING)
    ] = 0,
    device: Annotated[
        str, typer.Option(help="Device to train on: cuda, cuda:N or cpu.", rich_help_panel=TRAINING)
    ] = "cuda",
    workers: WorkersOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the scorer that the checkpoint has.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is a checkpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a token scorer for a Molmo2 that has none, without changing any other weight.

    No labels are needed: the pruned model learns to answer as the unpruned one does. Repeating the command continues
    a run that was stopped. Several GPUs: torchrun --nproc-per-node N -m stts_export train-scorer ...
    """
    check_train_extra("training a scorer")
    for ratio in keep or ():
        if not 0 < ratio < 1:
            raise UserError(f"--keep {ratio:g}: a scorer is trained at keep ratios between 0 and 1")
    from stts_export.scorer_training.request import ScorerRequest
    from stts_export.scorer_training.train import train_scorer

    request = ScorerRequest(
        checkpoint=checkpoint,
        videos=videos,
        out=out,
        questions=questions,
        frames=tuple(frames or (64,)),
        keeps=tuple(keep or (0.5,)),
        prune_at=prune_at,
        steps=steps,
        change_steps=change_steps,
        minutes=math.inf if minutes is None else minutes,
        clips=clips,
        rate=rate,
        seed=seed,
        device=device,
        workers=_usual_workers() if workers is None else workers,
        replace=replace,
        force=force,
    )
    with shown_steps(quiet=as_json) as tell:
        taught = train_scorer(request, tell)
    if os.environ.get("RANK", "0") == "0":
        _show(out, taught, as_json)


def _show(out: Path, taught: Taught, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"out": str(out), **asdict(taught)}))
    else:
        steps = counted(taught.steps, "step")
        print(f"{out}: a scorer after {steps}; build it with: stts-export build {out} --out BUNDLE")


def _usual_workers() -> int:
    """Workers per process."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, (os.cpu_count() or 1) // together - 1))
