#!/usr/bin/env python3
"""Times engines of a released model's size, with random weights, on a GPU, compared with the same modules in torch.

Two steps, since GPUs may be hired by the minute: `graphs FOLDER` exports the graphs, without weights, on any machine;
`run FOLDER` makes weights of a seed on the GPU and measures. It needs the extras `export` and `cuda`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer

from stts_export.options import Half
from stts_runtime.bundle.manifest import ScorerName
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.tell import Tell
from stts_tools.gpu_bench.graphs import export_graphs
from stts_tools.gpu_bench.report import GpuReport
from stts_tools.gpu_bench.run import run_bench, run_decode_bench, run_engine_bench, run_quantized_bench
from stts_tools.gpu_bench.settings import GraphFolder, Settings
from stts_tools.gpu_bench.tensorrt_graphs import export_tensorrt_graphs

WINDOWS = [
    (16, 1.0),
    (16, 0.5),
    (64, 1.0),
    (64, 0.7),
    (64, 0.5),
    (64, 0.3),
    (128, 1.0),
    (128, 0.5),
    (256, 1.0),
    (256, 0.5),
]

LONGEST_TENSORRT = 64

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of the graphs.")]
Out = Annotated[Path, typer.Option(help="Report, .json.")]
Rounds = Annotated[int, typer.Option(min=3)]
Windows = Annotated[Optional[list[str]], typer.Option("--window", help="Frames and keep, as in 64:0.5; repeatable.")]
ScorerOption = Annotated[ScorerName, typer.Option(help="Of pruned windows; change has no weights.")]


@app.command()
def graphs(
    folder: Folder,
    size: Annotated[str, typer.Option(help="As in scripts/random_checkpoint.py.")] = "molmo2-4b",
    precision: Annotated[Half, typer.Option()] = "fp16",
    scorer: ScorerOption = "trained",
    window: Windows = None,
) -> None:
    """Exports the graphs, without weights: a few MB."""
    windows = [_window(text) for text in window] if window else WINDOWS
    export_graphs(Settings(size=size, windows=windows, precision=precision, scorer=scorer), GraphFolder(folder), _say)


@app.command("tensorrt-graphs")
def tensorrt_graphs(
    folder: Folder,
    size: Annotated[str, typer.Option(help="As in scripts/random_checkpoint.py.")] = "molmo2-4b",
    text_layers: Annotated[int, typer.Option(min=1, help="Of the language model; its builds take long.")] = 4,
    scorer: ScorerOption = "trained",
    window: Windows = None,
) -> None:
    """Exports graphs for scripts/bench_tensorrt.py, without weights."""
    windows = [_window(text) for text in window] if window else [one for one in WINDOWS if one[0] <= LONGEST_TENSORRT]
    settings = Settings(size=size, windows=windows, precision="fp16", scorer=scorer)
    export_tensorrt_graphs(settings, text_layers, folder, _say)


@app.command()
def run(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Report, .json; a picture is written next to it.")],
    rounds: Rounds = 9,
) -> None:
    """Measures, and writes the report and a picture of it."""
    from stts_tools.gpu_bench.plots import write_plots  # noqa: PLC0415  # the one command that draws

    report = _measured(run_bench, folder, out, rounds)
    write_plots(report, out.with_suffix(".png"))


@app.command()
def engines(
    folder: Folder,
    out: Out,
    rounds: Rounds = 9,
) -> None:
    """Measures the engines alone."""
    _measured(run_engine_bench, folder, out, rounds)


@app.command()
def decode(
    folder: Folder,
    out: Out,
    rounds: Rounds = 9,
) -> None:
    """Measures single tokens of the language model, with the decode kernels and without, in 16 bits, fp8 and int4."""
    _measured(run_decode_bench, folder, out, rounds)


@app.command()
def quantized(
    folder: Folder,
    out: Out,
    rounds: Rounds = 9,
) -> None:
    """Measures the language model in 16 bits and in each format that it can have."""
    _measured(run_quantized_bench, folder, out, rounds)


def _measured(
    bench: Callable[[GraphFolder, int, str, Tell], GpuReport], folder: Path, out: Path, rounds: int
) -> GpuReport:
    check_place(out, [".json"])
    if not torch.cuda.is_available():
        raise UserError("no CUDA device was found; what is measured here runs on one")
    report = bench(GraphFolder(folder), rounds, shlex.join(["scripts/bench_gpu.py", *sys.argv[1:]]), _say)
    with written_whole(out) as scratch:
        scratch.write_text(report.model_dump_json(indent=1) + "\n")
    return report


def _window(text: str) -> tuple[int, float]:
    frames, _, keep = text.partition(":")
    try:
        return int(frames), float(keep)
    except ValueError:
        raise UserError(f"a window is frames and keep, as in 64:0.5, and not {text!r}") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_gpu.py"))
