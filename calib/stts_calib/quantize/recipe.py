"""What of a bundle is quantized, and which of its graphs can hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from stts_calib.calibration.prompts import SeenPrompt
from stts_calib.quantize.aware import quantize_weights_aware
from stts_calib.quantize.blockwise import BITS, quantize_weights
from stts_calib.quantize.float8 import quantize_products_to_float8
from stts_calib.quantize.float8_weights import quantize_weights_to_float8
from stts_calib.quantize.integer import quantize_products
from stts_calib.quantize.products import HEAD, blocks_of
from stts_calib.quantize.ranges import Ranges
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.bundle.manifest import Format, Graph

TowerFormat = Literal["int8", "fp8"]
_PRODUCTS: dict[TowerFormat, Callable[[ModelProto, Ranges, AbstractSet[str]], ModelProto]] = {
    "int8": quantize_products,
    "fp8": quantize_products_to_float8,
}
_HALF_SCALES_SINCE_OPSET = 19
"""QuantizeLinear with scales in fp16, and FP8."""
_BLOCKS_SINCE_OPSET = 21
"""DequantizeLinear by blocks, which 4 bits need."""


@dataclass(frozen=True)
class Tower:
    """The vision tower, quantized."""

    form: TowerFormat
    ranges: Ranges
    """How activation ranges are determined."""
    blocks: AbstractSet[str]

    def apply(self, model: ModelProto) -> ModelProto:
        """The graph, quantized; `model` is used up."""
        return _PRODUCTS[self.form](model, self.ranges, self.blocks)


@dataclass(frozen=True)
class Recipe:
    """None leaves a part as it is."""

    vision: Tower | None = None
    language: Format | None = None
    prompts: Sequence[SeenPrompt] = ()
    """If there are any, the scales of 4-bit weights are searched on them."""

    @property
    def formats(self) -> dict[str, Format | None]:
        """By kind of graph."""
        return {VISION: self.vision.form if self.vision else None, LANGUAGE: self.language}

    def __str__(self) -> str:
        return " and ".join(f"{kind} in {form}" for kind, form in self.formats.items() if form is not None)

    def form_in(self, kind: str, lowering: str, graph: Graph) -> Format | None:
        """What this becomes in a graph of this kind and lowering: None where it cannot hold it."""
        wanted = self.formats[kind]
        if kind == LANGUAGE and self.prompts and lowering == "cuda":
            # Its weights are quantized one at a time, without a model that could be shown anything.
            return None
        return wanted if wanted in _formats_of(kind, lowering, graph) else None

    def apply(self, kind: str, model: ModelProto) -> ModelProto:
        """The graph of a part of this kind, quantized, if its weights are in it; `model` is used up."""
        if kind == VISION and self.vision is not None:
            return self.vision.apply(model)
        if kind == VISION or self.language is None:
            return model
        blocks = blocks_of(model) - {HEAD}
        if self.language == "int4" and self.prompts:
            return quantize_weights_aware(model, blocks, self.prompts)
        if self.language == "fp8":
            return quantize_weights_to_float8(model, blocks)
        return quantize_weights(model, BITS[self.language], blocks)


def left_out_because(graph: Graph) -> str:
    """Why a lowering holds nothing of a recipe; `graph` is any of its graphs."""
    if graph.backend == "tensorrt" and graph.opset < _HALF_SCALES_SINCE_OPSET:
        return (
            f"opset {graph.opset}, which TensorRT {graph.minimum_backend_version} reads, has neither FP8 nor int8 with "
            f"scales in fp16 (opset {_HALF_SCALES_SINCE_OPSET} has)"
        )
    return "its graphs can hold none of these formats"


def _formats_of(kind: str, lowering: str, graph: Graph) -> tuple[Format, ...]:
    """What graphs can hold that is worth something there."""
    if lowering == "cpu":
        return ("int8",) if kind == VISION else ("int4", "int8", "fp8")
    if lowering == "cuda" and kind == LANGUAGE:
        return ("int4", "int8", "fp8") if graph.precision == "fp16" else ("fp8",)
    if lowering == "cuda" or graph.precision != "fp16":
        return ()
    if graph.backend != "tensorrt" or graph.opset < _HALF_SCALES_SINCE_OPSET:
        return ()
    if kind == VISION:
        return ("int8", "fp8")
    return ("int4",) if graph.opset >= _BLOCKS_SINCE_OPSET else ()
