#!/usr/bin/env python3
"""Compiles vision graphs of Molmo2's size, with random weights, ahead of time with TensorRT-RTX; needs no GPU.

What a full-size build asks of a machine: seconds, peak memory of the compiling process, size of the engine, and whether
quantized graphs are accepted. Prints one line of JSON for each graph, with the compiler's words where it refuses.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Optional

import onnx
import onnx_ir as ir
import torch
import typer

from stts_calib.quantize.products import SCORER, biased_layer, blocks_of, products_of
from stts_calib.quantize.ranges import Ranges
from stts_calib.quantize.recipe import Tower, TowerFormat
from stts_calib.quantize.weight_file import WeightFile, weight_names
from stts_export.checkpoint.safetensors_writer import write_safetensors
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import refer_to_weight_file, used_weights
from stts_export.lowering import LOWERINGS
from stts_export.modules.config import (
    ConnectorConfig,
    MarkerIds,
    ModelConfig,
    RotaryConfig,
    ScorerConfig,
    TextConfig,
    VisionConfig,
)
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.request import PartRequest
from stts_runtime.errors import SttsError
from stts_runtime.tensorrt import load_flavour
from stts_tools.measured import measured

FORMS: dict[str, TowerFormat | None] = {"none": None, "int8": "int8", "fp8": "fp8"}


@dataclass(frozen=True)
class Wanted:
    """A graph to compile."""

    budget: TokenBudget
    lowering: str
    quantized: TowerFormat | None


@dataclass(frozen=True)
class Result:
    """What one graph took."""

    variant: str
    lowering: str
    quantized: TowerFormat | None
    architectures: list[str]
    tensorrt_rtx: str
    weights_mb: float
    graph_mb: float
    seconds: float | None = None
    peak_memory_mb: float | None = None
    engine_mb: float | None = None
    refused: str | None = None


def molmo2() -> ModelConfig:
    """The vision side of Molmo2-4B: 378 x 378 pixels, 25 of 27 layers run, two of them read."""
    vision = VisionConfig(1152, 25, 16, 4304, 27, 14 * 14 * 3, (24, 18))
    connector = ConnectorConfig(heads=16, head_dim=72, pooled_width=1152, mlp_width=9728, text_width=2560)
    text = TextConfig(2560, 1, 32, 8, 128, 9728, 151936, 128, RotaryConfig(5e6))
    return ModelConfig(vision, connector, text, MarkerIds(0, 1, 2), ScorerConfig(3, 1152, 0.5))


def random_vision() -> Vision:
    with torch.device("meta"):
        vision = Vision(molmo2()).half()
    assert vision.temporal_token_scorer is not None
    vision.temporal_token_scorer.float()
    vision = vision.to_empty(device="cpu")
    for parameter in vision.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return vision


def compile_graph(vision: Vision, wanted: Wanted, architectures: list[str], folder: Path) -> Result:
    graph, plan = folder / f"{wanted.budget.name}.onnx", folder / "plan"
    weights = write_graph(vision, wanted, graph)
    request = PartRequest(
        flavour="tensorrt-rtx",
        graph=str(graph),
        plan=str(plan),
        architectures=architectures,
        precision="fp16",
        lengths=None,
        timing_cache=None,
    )
    result = Result(
        variant=wanted.budget.name,
        lowering=wanted.lowering,
        quantized=wanted.quantized,
        architectures=architectures,
        tensorrt_rtx=load_flavour("tensorrt-rtx").version,
        weights_mb=_mb(weights),
        graph_mb=_mb(graph),
    )
    try:
        done = compile_part(request, lambda _: None)
    except SttsError as error:
        return replace(result, refused=str(error))
    return replace(result, seconds=done.seconds, peak_memory_mb=done.peak_memory_mb, engine_mb=_mb(plan))


def write_graph(vision: Vision, wanted: Wanted, graph: Path) -> Path:
    """Where its weights are."""
    weights = graph.with_name("vision.safetensors")
    model = export_vision(vision, wanted.budget, LOWERINGS[wanted.lowering])
    state = vision.state_dict()
    write_safetensors(weights, used_weights([model], state, "vision."), state.__getitem__)
    refer_to_weight_file(model, weights, "vision.")
    ir.save(model, graph)
    if wanted.quantized is None:
        return weights
    sources = weight_names(graph)
    quantized, file = invented_tower(wanted.quantized, graph).apply(onnx.load(graph)), WeightFile()
    file.take(quantized, sources)
    file.write(weights)
    file.refer(quantized, weights)
    onnx.save(quantized, graph)
    return weights


def invented_tower(form: TowerFormat, graph: Path) -> Tower:
    """As a calibration leaves it, with ranges of no meaning: what compiles does not depend on them."""
    model = onnx.load(graph, load_external_data=False)
    ranges = Ranges("minmax", {one.weight: (-8.0, 8.0) for one in products_of(model)})
    return Tower(form, ranges, blocks_of(model) - {SCORER, biased_layer(model)})


def _mb(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 2)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def compile_vision(
    frames: Annotated[Optional[list[int]], typer.Option(help="Repeatable. Default: 16 and 128.")] = None,
    keep: Annotated[Optional[list[float]], typer.Option(help="Repeatable. Default: 0.5.")] = None,
    lowering: Annotated[
        Optional[list[str]], typer.Option(help="tensorrt or tensorrt-10; repeatable. Default: tensorrt.")
    ] = None,
    quantize: Annotated[Optional[list[str]], typer.Option(help="none, int8 or fp8; repeatable. Default: none.")] = None,
    arch: Annotated[str, typer.Option(help="Architectures, separated by commas.")] = "sm86",
) -> None:
    vision = random_vision()
    for length, share, name, form in product(
        frames or [16, 128], keep or [0.5], lowering or ["tensorrt"], quantize or ["none"]
    ):
        budget = TokenBudget(length, vision.config.vision.groups, share)
        wanted = Wanted(budget, name, FORMS[form])
        with tempfile.TemporaryDirectory() as folder:
            result = compile_graph(vision, wanted, arch.split(","), Path(folder))
        print(json.dumps(measured(**asdict(result))), flush=True)


if __name__ == "__main__":
    app()
