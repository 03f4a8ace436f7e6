#!/usr/bin/env python3
"""Builds graphs with TensorRT and runs them once: NAME.onnx and NAME.in.npz make NAME.out.npz. It needs the runtime."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from stts_runtime.bundle.manifest import Precision
from stts_runtime.cli.entry import run_app
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.request import PartRequest
from stts_runtime.engines.cuda_memory import Stream, load_cuda
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.errors import UserError
from stts_runtime.tensorrt import load_flavour

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def run(
    folder: Annotated[Path, typer.Argument(help="Folder of the graphs and their inputs.")],
    precision: Annotated[Precision, typer.Option(help="What the builder may compute in.")] = "fp32",
) -> None:
    graphs = sorted(folder.glob("*.onnx"))
    missing = [path for path in (graph.with_suffix(".in.npz") for graph in graphs) if not path.is_file()]
    if not graphs or missing:
        raise UserError(f"{missing[0]} is missing" if missing else f"{folder} holds no graphs (NAME.onnx)")
    for graph in graphs:
        with tempfile.TemporaryDirectory() as scratch:
            plan = Path(scratch) / "plan"
            seconds = build(graph, plan, precision)
            outputs: dict[str, Any] = outputs_of(plan, dict(np.load(graph.with_suffix(".in.npz"))))
        np.savez(graph.with_suffix(".out.npz"), **outputs)
        print(f"{graph.name}: built in {seconds:.0f} s, {', '.join(outputs)}", flush=True)


def build(graph: Path, plan: Path, precision: Precision) -> float:
    request = PartRequest(
        flavour="tensorrt",
        graph=str(graph.resolve()),
        plan=str(plan),
        architectures=None,
        precision=precision,
        lengths=None,
        timing_cache=None,
    )
    return compile_part(request, lambda _: None).seconds


def outputs_of(plan: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    stream = Stream(load_cuda())
    loaded = LoadedEngine(load_flavour("tensorrt"), plan, stream)
    arrays = {name: loaded.array(name) for name in loaded.names}
    context = loaded.context()
    context.bind(arrays)
    for name, values in inputs.items():
        stream.upload(arrays[name], values)
    context.enqueue()
    stream.synchronize()
    return {name: stream.download(array) for name, array in arrays.items() if name not in inputs}


if __name__ == "__main__":
    sys.exit(run_app(app, "run_on_tensorrt.py"))
