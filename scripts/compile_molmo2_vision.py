"""Compiles vision graphs of Molmo2's size, with random weights, ahead of time with TensorRT-RTX; needs no GPU.

What a full-size build asks of a machine: seconds, peak memory of the compiling process, size of the engine. Prints one
line of JSON for each graph.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import onnx_ir as ir
import torch

from stts_export.checkpoint.stream_writer import write_safetensors
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
from stts_runtime.bench import machine
from stts_runtime.budget import TokenBudget
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.request import PartRequest
from stts_runtime.tensorrt import load_flavour


@dataclass(frozen=True)
class Result:
    """What one graph took."""

    variant: str
    lowering: str
    architectures: list[str]
    tensorrt_rtx: str
    weights_mb: float
    graph_mb: float
    seconds: float
    peak_memory_mb: float
    engine_mb: float


def molmo2() -> ModelConfig:
    """The vision side of Molmo2-4B: 378 x 378 pixels, 25 of 27 layers run, two of them read."""
    vision = VisionConfig(1152, 25, 16, 4304, 27, 14 * 14 * 3, (24, 18))
    connector = ConnectorConfig(heads=16, head_width=72, pooled_width=1152, mlp_width=9728, text_width=2560)
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


def compile_graph(vision: Vision, budget: TokenBudget, lowering: str, architectures: list[str], folder: Path) -> Result:
    model = export_vision(vision, budget, LOWERINGS[lowering])
    weights, graph, plan = folder / "vision.safetensors", folder / f"{budget.name}.onnx", folder / "plan"
    state = vision.state_dict()
    write_safetensors(weights, used_weights([model], state, "vision."), state.__getitem__)
    refer_to_weight_file(model, weights, "vision.")
    ir.save(model, graph)
    del model
    request = PartRequest(
        flavour="tensorrt-rtx",
        graph=str(graph),
        plan=str(plan),
        architectures=architectures,
        lengths=None,
        timing_cache=None,
    )
    done = compile_part(request, lambda _: None)
    return Result(
        variant=budget.name,
        lowering=lowering,
        architectures=architectures,
        tensorrt_rtx=load_flavour("tensorrt-rtx").version,
        weights_mb=_mb(weights),
        graph_mb=_mb(graph),
        seconds=done.seconds,
        peak_memory_mb=done.peak_memory_mb,
        engine_mb=_mb(plan),
    )


def _mb(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, action="append", help="repeatable; default: 16 and 128")
    parser.add_argument("--keep", type=float, action="append", help="repeatable; default: 0.5")
    parser.add_argument("--lowering", action="append", choices=["tensorrt", "tensorrt-10"], help="default: tensorrt")
    parser.add_argument("--arch", default="sm86", help="architectures, separated by commas")
    options = parser.parse_args()
    vision = random_vision()
    for frames in options.frames or [16, 128]:
        for keep in options.keep or [0.5]:
            for lowering in options.lowering or ["tensorrt"]:
                budget = TokenBudget(frames, vision.config.vision.groups, keep)
                with tempfile.TemporaryDirectory() as folder:
                    result = compile_graph(vision, budget, lowering, options.arch.split(","), Path(folder))
                about = {"created": date.today().isoformat(), "machine": machine().model_dump()}
                print(json.dumps({**asdict(result), **about}), flush=True)


if __name__ == "__main__":
    main()
