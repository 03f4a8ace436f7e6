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

if TYPE_CHECKING:
    from stts_export.scorer_training.train import Taught

_MOST_WORKERS = 8

VideosOption = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Videos, subfolders too; or .npz with frames and times_seconds.")
]
QuestionsOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE", help="A question a line, .txt; or with the video's name, .jsonl. Default: usual ones."
    ),
]
FramesOption = Annotated[
    Optional[list[int]],
    typer.Option(min=2, help="Most frames of a window, repeatable: steps take turns. Default: 64."),
]
KeepOption = Annotated[
    Optional[list[float]], typer.Option(help="Keep ratio, repeatable: steps take turns. Default: 0.5.")
]
PruneAtOption = Annotated[
    Optional[int], typer.Option(min=0, help="Layer to score. Default: as the checkpoint says, else the last but one.")
]
ChangeStepsOption = Annotated[
    int, typer.Option(min=0, help="The first of them: teach change between frames alone, which is quick.")
]
MinutesOption = Annotated[
    Optional[float], typer.Option(min=0.01, help="Of the whole run, if these are over before its steps.")
]
WorkersOption = Annotated[
    Optional[int], typer.Option(min=0, help="Processes that read videos. Default: one a core, at most 8.")
]


def train_scorer_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            parser=as_typed,
            help="A Molmo2, Hugging Face folder. Or a hub's OWNER/NAME, OWNER/NAME@REVISION.",
        ),
    ],
    videos: VideosOption,
    out: Annotated[Path, typer.Option(help="Checkpoint to write; OUT.training holds the run until then.")],
    questions: QuestionsOption = None,
    frames: FramesOption = None,
    keep: KeepOption = None,
    prune_at: PruneAtOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the whole run.")] = 2000,
    change_steps: ChangeStepsOption = 500,
    minutes: MinutesOption = None,
    clips: Annotated[int, typer.Option(min=1, help="A step, of all GPUs together.")] = 8,
    rate: Annotated[float, typer.Option(min=1e-8, max=1.0, help="Highest learning rate.")] = 3e-4,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, clips and questions.")] = 0,
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu.")] = "cuda",
    workers: WorkersOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Leave out the scorer that is there.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is a checkpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Trains a token scorer for a Molmo2 that has none; every other weight stays as it is.

    No labels are needed: the unpruned model answers, and the pruned one is to answer alike. The same command goes on
    with a run that was stopped. Several GPUs: torchrun --nproc-per-node N -m stts_export train-scorer ...
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
        print(f"{out}: a scorer after {taught.steps} steps; build it with: stts-export build {out} --out BUNDLE")


def _usual_workers() -> int:
    """Of each process."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(_MOST_WORKERS, (os.cpu_count() or 1) // together - 1))
