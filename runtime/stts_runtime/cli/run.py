"""`stts-runtime run`: answers to questions about video files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.answering.form import MOST_TOP_LOGPROBS
from stts_runtime.batch import Batch, Failure
from stts_runtime.cli.help import ANSWERS, OUTPUT
from stts_runtime.cli.options import (
    BudgetOption,
    BundleArgument,
    ChoicesOption,
    DeviceOption,
    EngineOption,
    FramesOption,
    JsonOption,
    MaxTokensOption,
    NvdecOption,
    SchemaOption,
    VariantKeepOption,
)
from stts_runtime.cli.show import console, errors, show_answer, show_note
from stts_runtime.cli.source_progress import SourceProgress, source_progress
from stts_runtime.coco import SUFFIX as POINTS_SUFFIX
from stts_runtime.coco import CocoKeypoints
from stts_runtime.device import gpu_of, select_gpu
from stts_runtime.errors import UserError
from stts_runtime.inputs import Input, expand_sources
from stts_runtime.model import load
from stts_runtime.outputs import check_output
from stts_runtime.overlay import SUFFIXES
from stts_runtime.records import Answer
from stts_runtime.results import SUFFIX, Results, open_results
from stts_runtime.session import Wanted
from stts_runtime.text import visible
from stts_runtime.video.decoding import MISSING, has_nvdec

_MOST_NAMED = 10


def run_command(
    bundle: BundleArgument,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE", help="Video files, folders (with subfolders), or patterns in quotes: 'rec/**/*.mp4'."
        ),
    ],
    ask: Annotated[list[str], typer.Option(metavar="QUESTION", help="Question to answer; repeatable.")],
    keep: VariantKeepOption = None,
    budget: BudgetOption = None,
    frames: FramesOption = None,
    choices: ChoicesOption = None,
    schema: SchemaOption = None,
    top_logprobs: Annotated[
        Optional[int],
        typer.Option(
            min=0,
            max=MOST_TOP_LOGPROBS,
            help="Return the log probability of each token and of this many alternatives.",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    max_tokens: MaxTokensOption = 64,
    engine: EngineOption = None,
    device: DeviceOption = None,
    nvdec: NvdecOption = False,
    overlay: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Write a picture of the kept patches, .png or .mp4.", rich_help_panel=OUTPUT),
    ] = None,
    points: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE", help="Write what the answers point to as COCO keypoints, .json.", rich_help_panel=OUTPUT
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Append each answer as a line of JSON, .jsonl. Repeating the command answers only what is missing; "
            "delete the file to start over.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer questions about video files.

    The video is processed once for all questions. A video that cannot be used does not stop the others.
    """
    select_gpu(gpu_of(device))
    inputs = expand_sources(sources)
    _check_outputs(bundle, inputs, overlay, points, out)
    model = load(bundle, engine, device)
    form = model.forms.of({"choices": choices, "schema": schema, "top_logprobs": top_logprobs})
    batch = Batch(model, ask, Wanted(keep, budget, frames), max_tokens, nvdec, form)
    if nvdec and not has_nvdec():
        show_note(MISSING)
    with nullcontext() if out is None else open_results(out, batch.settings) as results:
        failures = _run(batch, inputs, results, overlay, points, as_json)
    for name, path in (("overlay", overlay), ("points", points)):
        if path is not None and not as_json:
            console.print(f"{name}: {path}", soft_wrap=True)
    if failures:
        _tell(_summary(failures, len(inputs)))
        raise typer.Exit(min(one.error.exit_code for one in failures))


def _run(
    batch: Batch,
    inputs: Sequence[Input],
    results: Results | None,
    overlay: Path | None,
    points: Path | None,
    as_json: bool,
) -> list[Failure]:
    """Shows the answers. The error of a single source is raised; of several, it is shown and returned."""
    done, failures, pointed = _already_done(batch, inputs, results), [], CocoKeypoints()
    with source_progress(len(inputs), done) as progress:
        for outcome in batch.run(inputs, results, overlay, progress.begin):
            if isinstance(outcome, Answer):
                _show(outcome, progress, as_json)
                pointed.add(outcome)
            elif len(inputs) == 1:
                raise outcome.error
            else:
                progress.error(outcome.message)
                failures.append(outcome)
    if points is not None:
        pointed.write(points)
    return failures


def _already_done(batch: Batch, inputs: Sequence[Input], results: Results | None) -> int:
    if results is None:
        return 0
    done = sum(not results.missing(one.name, batch.questions) for one in inputs)
    if done:
        sources, verb = "source" if len(inputs) == 1 else "sources", "is" if done == 1 else "are"
        _tell(f"note: {done:,} of {len(inputs):,} {sources} {verb} already answered in {results.path}")
    return done


def _show(answer: Answer, progress: SourceProgress, as_json: bool) -> None:
    if as_json:
        progress.line(answer.model_dump_json())
    else:
        show_answer(answer, progress.console)


def _check_outputs(
    bundle: Path, inputs: Sequence[Input], overlay: Path | None, points: Path | None, out: Path | None
) -> None:
    """Refuses what cannot work before any engine is loaded."""
    if overlay is not None and len(inputs) > 1:
        raise UserError(f"--overlay takes one source, got {len(inputs)}")
    if points is not None and out is not None:
        raise UserError("--points takes no --out, whose answers of earlier runs it would lack")
    for one in inputs:
        for path, suffixes in ((overlay, SUFFIXES), (points, (POINTS_SUFFIX,)), (out, (SUFFIX,))):
            if path is not None:
                check_output(path, suffixes, one.name, bundle)


def _summary(failures: Sequence[Failure], total: int) -> str:
    named = ", ".join(one.source for one in failures[:_MOST_NAMED])
    more = f" and {len(failures) - _MOST_NAMED:,} more" if len(failures) > _MOST_NAMED else ""
    return f"{len(failures):,} of {total:,} sources failed: {named}{more}"


def _tell(line: str) -> None:
    errors.print(visible(line), markup=False, emoji=False, soft_wrap=True)
