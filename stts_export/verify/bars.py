"""How close is close enough, by what a part computes in or keeps its weights in.

These are the product's bars (docs/verify.md). What a build refuses to publish (`graphs/check.py`) is wider in bf16.
"""

from __future__ import annotations

from dataclasses import dataclass

from safetensors import safe_open

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Graph, Precision


@dataclass(frozen=True)
class Bar:
    """Errors are norms of differences over norms of what is compared."""

    features: float
    logits: float
    overlap: float
    """Lowest intersection over union of the kept sets."""
    cut_margin: float
    """Farthest from the cut that a group may be which only one side keeps."""

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded, so that kept sets and texts are equal."""
        return self.overlap == 1


BARS: dict[Precision, Bar] = {
    "fp32": Bar(features=1e-4, logits=1e-4, overlap=1.0, cut_margin=0.0),
    "fp16": Bar(features=1e-2, logits=1e-2, overlap=0.99, cut_margin=1e-3),
    "bf16": Bar(features=1e-2, logits=5e-2, overlap=0.97, cut_margin=1e-2),
}

MOLMO2_LOGITS = 1e-3
"""Largest difference from transformers' Molmo2 at keep 1, float32."""


def precision_of(bundle: Bundle, graph: Graph) -> Precision:
    """The coarsest format in a graph or in its weights: rounded weights tell, whatever computes with them."""
    with safe_open(bundle.file(graph.weights), framework="pt") as weights:
        stored = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118 (it is no mapping)
    if graph.precision == "bf16" or graph.wide or "BF16" in stored:
        return "bf16"
    return "fp16" if graph.precision == "fp16" or "F16" in stored else "fp32"
