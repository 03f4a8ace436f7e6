"""Joins neighbouring operators into ONNX Runtime's fused ones: bias + GELU, and bias + residual + norm.

ONNX Runtime's own optimizers look for the same neighbours, but in three-dimensional tensors only, and the graphs here
hold rows of tokens.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from stts_export.lowering.contrib import DOMAIN


class BiasGelu(pattern.RewriteRuleClassBase):
    """FastGelu(product + bias) -> FastGelu(product, bias)."""

    def pattern(self, op: Any, product: Any, bias: Any) -> Any:
        return op.FastGelu(op.Add(product, bias), _domain=DOMAIN)

    def check(self, op: Any, bias: ir.Value, **_: Any) -> bool:  # type: ignore[override]  # noqa: ARG002
        return _is_vector(bias)

    def rewrite(self, op: Any, product: ir.Value, bias: ir.Value) -> Any:
        return op.FastGelu(product, bias, _domain=DOMAIN)


class SkipLayerNorm(pattern.RewriteRuleClassBase):
    """LayerNormalization(residual + change) -> one operator that gives the sum as well; with a bias in `change` too."""

    def __init__(self, *, has_bias: bool) -> None:
        super().__init__(f"SkipLayerNorm{'Bias' if has_bias else ''}")
        self._has_bias = has_bias

    def pattern(self, op: Any, residual: Any, change: Any, bias: Any, scale: Any, shift: Any) -> Any:
        total = op.Add(residual, op.Add(change, bias) if self._has_bias else change)
        return op.LayerNormalization(total, scale, shift, _allow_other_attributes=True, _outputs=["norm"]), total

    def check(self, op: Any, residual: ir.Value, change: ir.Value, bias: ir.Value | None, **_: Any) -> bool:  # type: ignore[override]  # noqa: ARG002
        return _same_shape(residual, change) and (not self._has_bias or _is_vector(bias))

    def rewrite(
        self,
        op: Any,
        residual: ir.Value,
        change: ir.Value,
        bias: ir.Value | None,
        scale: ir.Value,
        shift: ir.Value,
        norm: ir.Value,
    ) -> Any:
        normed, _mean, _deviation, total = op.SkipLayerNormalization(
            change, residual, scale, shift, bias, epsilon=_epsilon(norm), _outputs=4, _domain=DOMAIN
        )
        return normed, total


class SkipRmsNorm(pattern.RewriteRuleClassBase):
    """RMSNormalization(residual + change) -> one operator that gives the sum as well."""

    def pattern(self, op: Any, residual: Any, change: Any, scale: Any) -> Any:
        total = op.Add(residual, change)
        return op.RMSNormalization(total, scale, _allow_other_attributes=True, _outputs=["norm"]), total

    def check(self, op: Any, residual: ir.Value, change: ir.Value, **_: Any) -> bool:  # type: ignore[override]  # noqa: ARG002
        return _same_shape(residual, change)

    def rewrite(self, op: Any, residual: ir.Value, change: ir.Value, scale: ir.Value, norm: ir.Value) -> Any:
        normed, _mean, _deviation, total = op.SkipSimplifiedLayerNormalization(
            change, residual, scale, epsilon=_epsilon(norm), _outputs=4, _domain=DOMAIN
        )
        return normed, total


def fuse(model: ir.Model) -> None:
    """Rewrites the graph in place."""
    make: list[tuple[Any, dict[str, bool]]] = [
        (BiasGelu, {}),
        (SkipLayerNorm, {"has_bias": True}),
        (SkipLayerNorm, {"has_bias": False}),
        (SkipRmsNorm, {}),
    ]
    rules = [kind.rule(**how) for kind, how in make]
    pattern.RewriteRuleSet(rules).apply_to_model(model)
    model.graph.sort()


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 1


def _same_shape(one: ir.Value, other: ir.Value) -> bool:
    return one.shape is not None and one.shape == other.shape


def _epsilon(norm: ir.Value) -> float:
    producer = norm.producer()
    assert producer is not None
    return producer.attributes.get_float("epsilon", 1e-5)
