#!/usr/bin/env python3
"""Times vLLM's own Molmo2 of a released model's size, with random weights, compared with `bench_gpu.py`.

`folder OUT` writes config and tokenizer on any machine; `run OUT` measures where vllm is installed and a GPU is.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer
from pydantic import BaseModel, ConfigDict

from stts_runtime.cli.entry import run_app
from stts_runtime.outputs import check_place, written_whole
from stts_tools.vllm_bench.folder import write_folder
from stts_tools.vllm_bench.measure import VllmMolmo2, VllmRow, VllmSettings

FRAMES = [16, 64, 128]
REQUESTS = [1, 8]

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of config and tokenizer.")]
Dtype = Annotated[str, typer.Option(help="Of the weights.")]


class VllmReport(BaseModel):
    """What was measured, with what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    created: str
    command: str
    gpu: str
    python: str
    versions: dict[str, str]
    dtype: str
    quantization: str | None
    attention: str | None
    tokens: int
    """After the first, in each timed answer."""
    rounds: int
    rows: list[VllmRow]


@app.command()
def folder(
    out: Folder,
    size: Annotated[str, typer.Option(help="As in scripts/random_checkpoint.py.")] = "molmo2-4b",
    dtype: Dtype = "bfloat16",
) -> None:
    """Writes what vLLM reads of a model next to its weights."""
    write_folder(out, size, dtype)
    print(out)


@app.command()
def run(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Report, .json; rows are added as they come.")],
    frames: Annotated[list[int], typer.Option(min=1, help="Of a request, repeatable.")] = FRAMES,
    requests: Annotated[list[int], typer.Option(min=1, help="Asked at once, repeatable.")] = REQUESTS,
    tokens: Annotated[int, typer.Option(min=1, help="Behind the first.")] = 63,
    rounds: Annotated[int, typer.Option(min=3)] = 5,
    dtype: Dtype = "bfloat16",
    quantization: Annotated[Optional[str], typer.Option(help="As vLLM names it, such as fp8.")] = None,
    attention: Annotated[Optional[str], typer.Option(help="Kernels, as vLLM names them: FLEX_ATTENTION.")] = None,
    memory: Annotated[float, typer.Option(help="Share of the GPU's memory that vLLM may take.")] = 0.8,
) -> None:
    """Measures."""
    check_place(out, [".json"])
    # In this process, whose clock is read.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    settings = VllmSettings(
        folder=folder,
        dtype=dtype,
        quantization=quantization,
        frames=max(frames),
        requests=max(requests),
        memory=memory,
        attention=attention,
    )
    molmo2 = VllmMolmo2(settings)
    rows: list[VllmRow] = []
    for crowd in requests:
        for count in frames:
            rows.append(molmo2.row(count, crowd, tokens, rounds))
            print(rows[-1], file=sys.stderr, flush=True)
            _write(out, settings, tokens, rounds, rows)


def _write(out: Path, settings: VllmSettings, tokens: int, rounds: int, rows: list[VllmRow]) -> None:
    report = VllmReport(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["scripts/bench_vllm.py", *sys.argv[1:]]),
        gpu=torch.cuda.get_device_name(),
        python=platform.python_version(),
        versions={name: version(name) for name in ("vllm", "torch", "transformers")},
        dtype=settings.dtype,
        quantization=settings.quantization,
        attention=settings.attention,
        tokens=tokens,
        rounds=rounds,
        rows=rows,
    )
    with written_whole(out) as scratch:
        scratch.write_text(report.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(run_app(app, "bench_vllm.py"))
