"""Lowering `tensorrt-8`: opset 17, in 16 bits, for TensorRT 8.6 (JetPack 6.0) to 10.2, with which `compile` does not
build yet.

As `tensorrt-10`, but for what the parser of 8.6 does not read and what it makes slow: GELU is spelled out, and masks
are added to the logits, since a choice between product and softmax keeps them from being fused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from onnxscript.values import Opset

from stts_export.lowering.decomposed import TENSORRT_10, Decomposed, as_function
from stts_export.lowering.lowering import OLDEST_EXPORTED_OPSET
from stts_export.lowering.standard import Value

_LOWEST = -30000.0
"""Added to the logits of what is not seen: finite in fp16, and its exponential is 0 next to any seen one."""


class _Opset17(Decomposed):
    def table(self) -> dict[Callable[..., Any], Callable[..., Value]]:
        return {**super().table(), torch.ops.aten.gelu.default: as_function(self.gelu)}

    def gelu(self, x: Value, approximate: str = "none") -> Value:
        """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the only form that the models have."""
        if approximate != "tanh":
            raise ValueError(f"GELU is written down in its tanh form only, not {approximate!r}")
        op = self.op

        def number(value: float) -> Value:
            return op.CastLike(op.Constant(value_float=value), x)

        slope = op.Add(op.Mul(op.Mul(x, x), number(0.7978845608 * 0.044715)), number(0.7978845608))
        half = op.Mul(x, number(0.5))
        return op.Add(half, op.Mul(half, op.Tanh(op.Mul(x, slope))))

    def _masked(self, seen: Value, logits: Value) -> Value:
        op = self.op
        none, lowest = (op.CastLike(op.Constant(value_float=value), logits) for value in (0.0, _LOWEST))
        return op.Add(logits, op.Where(seen, none, lowest))


TENSORRT_8 = replace(
    TENSORRT_10,
    name="tensorrt-8",
    opset_version=17,
    table=_Opset17(Opset("", OLDEST_EXPORTED_OPSET)).table(),
    minimum_backend_version="8.6",
    has_bf16=False,
)
