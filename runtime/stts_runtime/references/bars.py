"""How close is close enough, by what a part computes in or keeps its weights in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Graph, Precision
from stts_runtime.bundle.weight_layout import read_layout


@dataclass(frozen=True)
class Bar:
    """Errors are norms of differences over norms of what is compared."""

    features: float
    """Bar for scores and visual tokens."""
    logits: float
    overlap: float
    """Lowest intersection over union of the kept sets."""
    cut_margin: float
    """Farthest from the cut that a group may be which only one side keeps."""
    crowds: bool = False
    """Whether any number of groups may lie that near to the cut, and be swapped: `overlap` says nothing then."""

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded, so that kept sets and texts are equal."""
        return self.overlap == 1


BARS: dict[Precision, Bar] = {
    "fp32": Bar(features=1e-4, logits=1e-4, overlap=1.0, cut_margin=0.0),
    "fp16": Bar(features=1e-2, logits=1e-2, overlap=0.99, cut_margin=1e-3),
    "bf16": Bar(features=1e-2, logits=5e-2, overlap=0.97, cut_margin=1e-2),
}
"""The product's bars (docs/verify.md), for a trained checkpoint and chosen frames."""

ROUNDING: dict[Precision, Bar] = {
    "fp32": Bar(features=1e-4, logits=1e-4, overlap=0.99, cut_margin=1e-5, crowds=True),
    "fp16": replace(BARS["fp16"], crowds=True),
    "bf16": Bar(features=5e-2, logits=5e-2, overlap=0.97, cut_margin=1e-2, crowds=True),
}
"""What rounding explains on any weights and frames, on any processor: beyond it a graph or an engine is wrong. Where
nearly everything moves, as in a proof's made-up frames, every score may be almost 1 and hundreds are at the cut."""

QUANTIZED = Bar(features=0.25, logits=0.5, overlap=0.9, cut_margin=0.1)
"""For products or weights in 8 or 4 bits. How good those are is what their own report says (docs/quantization.md); a
kernel that is wrong is off by as much as there is. The shipped checkpoint with int8 vision and int4 language is off by
0.045 in visual tokens and 0.21 in logits, at an overlap of 0.979 with swaps within 0.042."""


def precision_of(bundle: Bundle, graph: Graph) -> Precision:
    """The coarsest format in a graph or in its weights: rounded weights tell, whatever computes with them."""
    layout, _ = read_layout(bundle.file(graph.weights))
    stored = {placed.stored.dtype for placed in layout.values()}
    if graph.precision == "bf16" or graph.wide or "BF16" in stored:
        return "bf16"
    return "fp16" if graph.precision == "fp16" or "F16" in stored else "fp32"


def rounding_of(bundle: Bundle, graph: Graph) -> Bar:
    """What an engine of this graph is held to."""
    return ROUNDING[precision_of(bundle, graph)] if graph.quantized is None else QUANTIZED


_LARGEST_OF_MANY = 4
"""Standard deviations: an error this much larger than the usual one is among those of a whole vocabulary."""


def swaps_within(bar: float, logits: NDArray[Any]) -> NDArray[np.float64]:
    """How far apart the two best of logits (..., vocabulary or directions) may be and still change places, (...,).

    A coordinate of a projection is as large as a logit, on average.
    """
    sizes: NDArray[np.float64] = _LARGEST_OF_MANY * bar * np.sqrt(np.mean(np.square(logits), axis=-1, dtype=np.float64))
    return sizes


def relative_error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Norm of the difference over the norm of what is wanted."""
    got = got.astype(np.float32, copy=False)
    return float(np.linalg.norm(got - wanted) / max(float(np.linalg.norm(wanted)), 1e-12))
