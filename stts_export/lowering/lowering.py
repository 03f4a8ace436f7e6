"""What a lowering is: a table from our operators to ONNX, and what the engines that read it ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stts_export.modules.packing import SEAT_SIZES
from stts_runtime.bundle.manifest import Backend

OLDEST_EXPORTED_OPSET = 18
"""That torch's exporter can write."""


@dataclass(frozen=True)
class Lowering:
    """One way to write the graphs down."""

    name: str
    opset_version: int
    table: Mapping[Callable[..., Any], Callable[..., Any]]
    """Functions by operator, ours or torch's own, called with the ONNX values and attributes of its schema."""
    backend: Backend
    """What runs the graphs, or compiles them."""
    minimum_backend_version: str
    half: bool = False
    """Whether the graphs compute in 16 bits; else in float32."""
    half_weights: bool = False
    """Whether weights are kept in 16 bits where the graphs compute in float32; they are widened where they are used."""
    caches_in_place: bool = True
    """Whether caches are written where they lie; else they come out as other tensors."""
    caches_by_head: bool = False
    """Whether caches are (1, kv heads, slots, head_dim); else (1, slots, kv channels)."""
    host_indices: bool = False
    """Whether the language graph takes what depends on the number of tokens as inputs, which the host computes, so that
    it needs no arithmetic on shapes (`Language.indexed`)."""
    has_bf16: bool = True
    """Whether its engines compute in bf16; a bundle with parts in it has no graphs of a lowering without."""
    fused: bool = False
    """Whether neighbouring operators are joined into ONNX Runtime's fused ones (`graphs.fuse`)."""
    weights_as_inputs: bool = False
    """Whether graphs take their weights as inputs, so that all of them share one copy on the device."""
    spare_channels: int = 0
    """More channels in every head of the vision tower, in which masks and biases ride (`modules.wide_heads`)."""
    seat_sizes: int = SEAT_SIZES
    """Different sizes of seats in which kept groups are packed, where heads have spare channels."""
    derives_weights: bool = False
    """Whether what a graph would compute of weights alone is a weight of its own (`graphs.derived`)."""
    prefill_apart: bool = False
    """Whether a prefix with images has a graph of its own."""

    @property
    def exported_opset(self) -> int:
        """That of the operators in `table`; graphs of an older one are turned down to it afterwards."""
        return max(self.opset_version, OLDEST_EXPORTED_OPSET)

    @property
    def shares_16_bit_weights(self) -> bool:
        return self.half or self.half_weights
