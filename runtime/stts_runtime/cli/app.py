"""The commands of `stts-runtime`. Each reads its options, calls one function and prints what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.budget import AnsweringScope
from stts_runtime.bundle import Bundle
from stts_runtime.cli import run as run_command
from stts_runtime.cli.bench import bench_command
from stts_runtime.cli.compile import compile_command
from stts_runtime.cli.doctor import doctor_command
from stts_runtime.cli.options import BundleArgument, EngineOption
from stts_runtime.cli.serve import serve_command
from stts_runtime.cli.show import console, show_answer, show_bundle
from stts_runtime.cli.stream import stream_command
from stts_runtime.passports import verified_engines
from stts_runtime.sessions import Wanted

app = typer.Typer(
    name="stts-runtime",
    help="Runs STTS bundles on video: answers, benchmarks, inspection. Needs no torch.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output, one JSON object a line.")]


# Typer reads these annotations at run time, and Python 3.10 is supported: hence Optional.
@app.command()
def run(
    bundle: BundleArgument,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Video files.")],
    ask: Annotated[list[str], typer.Option(metavar="QUESTION", help="A question; may be given several times.")],
    keep: Annotated[Optional[float], typer.Option(help="Keep ratio of the variant; default: the trained one.")] = None,
    budget: Annotated[
        Optional[AnsweringScope], typer.Option(help="Budget of the variant, where there are two.")
    ] = None,
    frames: Annotated[Optional[int], typer.Option(min=1, help="Exactly so many frames; default: by the video.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens.")] = 64,
    engine: EngineOption = None,
    overlay: Annotated[Optional[Path], typer.Option(help="Picture of the kept patches, .png or .mp4.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Answers questions about videos; several questions share one look at the video."""
    run_command.check_request(bundle, sources, overlay)
    answers = run_command.Answers(Bundle.open(bundle), Wanted(keep, budget, frames), engine)
    for source in sources:
        for answer in answers.about(source, ask, max_tokens, overlay):
            if as_json:
                print(answer.model_dump_json(), flush=True)
            else:
                show_answer(answer)
    if overlay is not None and not as_json:
        console.print(f"overlay: {overlay}", soft_wrap=True)


@app.command()
def inspect(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Verifies every file of a bundle, compiled engines included, and shows what it holds."""
    opened = Bundle.open(bundle)
    opened.verify_all()
    engines = verified_engines(opened)
    if as_json:
        passports = [passport.model_dump() for passport in engines]
        print(
            json.dumps({"bundle": str(bundle), "verified": True, **opened.manifest.model_dump(), "engines": passports})
        )
    else:
        show_bundle(opened, engines)


app.command("stream")(stream_command)
app.command("serve")(serve_command)
app.command("bench")(bench_command)
app.command("compile")(compile_command)
app.command("doctor")(doctor_command)
