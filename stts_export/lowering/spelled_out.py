"""Operators in plain arithmetic, for any opset: what some engine has no operator for, or not without conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnxscript.values import Opset

from stts_export.lowering.standard import Value, constant
from stts_export.modules import operators


def keep_highest(op: Opset, scores: Value, kept: int) -> Value:
    """Indices, ascending, of the `kept` highest scores (..., n), by counting ranks.

    TensorRT's TopK takes no more than 3840 and promises nothing about ties. Rank i is the number of scores below score
    i, or equal to it and before it: the place in a stable sort. That is n x n comparisons, nothing to a GPU and slow
    on a CPU. Running sums are counted likewise: TensorRT's CumSum is a loop of n steps.
    """
    (count,) = constant(scores, -1)
    # 0 to n - 1, made of the scores: TensorRT would fold a constant comparison into n x n bytes of the engine.
    ones = op.Cast(op.Equal(scores, scores), to=onnx.TensorProto.INT32)
    numbers = op.Mul(ones, op.Cast(op.Range(0, count, 1), to=onnx.TensorProto.INT32))
    before = op.Less(op.Unsqueeze(numbers, [-2]), op.Unsqueeze(numbers, [-1]))
    this, other = op.Unsqueeze(scores, [-1]), op.Unsqueeze(scores, [-2])
    below = op.Or(op.Less(other, this), op.And(op.Equal(other, this), before))
    dropped = op.Cast(op.Constant(value_int=count - kept), to=onnx.TensorProto.INT32)
    is_dropped = op.Less(_how_many(op, below), dropped)

    # The j-th kept one is at the number of places up to which at most j are kept.
    is_kept = op.Not(is_dropped)
    kept_before = _how_many(op, op.And(op.Unsqueeze(is_kept, [-2]), before))
    kept_so_far = op.Add(kept_before, op.Cast(is_kept, to=onnx.TensorProto.INT32))
    places = op.Cast(op.Range(1, kept + 1, 1), to=onnx.TensorProto.INT32)
    index = _how_many(op, op.Less(op.Unsqueeze(kept_so_far, [-2]), op.Unsqueeze(places, [1])))
    return op.Cast(index, to=onnx.TensorProto.INT64)


def _how_many(op: Opset, condition: Value) -> Value:
    """Counts what is true along the last dimension, as int32."""
    return op.ReduceSum(op.Cast(condition, to=onnx.TensorProto.INT32), [-1], keepdims=0)


def cumsum(op: Opset, x: Value, dim: int) -> Value:
    """Running sums of whole numbers below 2^24, by way of float32."""
    summed = op.CumSum(op.Cast(x, to=onnx.TensorProto.FLOAT), op.Constant(value_int=dim))
    return op.Cast(summed, to=onnx.TensorProto.INT64)


def clamp(op: Opset, x: Value, lowest: Value | int | None, highest: Value | int | None) -> Value:
    """Bounds for whole numbers; TensorRT's Clip takes real ones only."""
    for bound, choose in ((lowest, op.Max), (highest, op.Min)):
        if bound is not None:
            x = choose(x, op.Constant(value_int=bound) if isinstance(bound, int) else bound)
    return x


def rotate(op: Opset, x: Value, cos: Value, sin: Value, heads: int) -> Value:
    """Half-split rotary embedding of x (B, L, C); cos and sin are (B, L, head_dim / 2)."""
    (half,) = constant(cos, -1)
    first, second = op.Split(by_token(op, x, heads), axis=-1, num_outputs=2)
    cos, sin = op.Unsqueeze(cos, [2]), op.Unsqueeze(sin, [2])
    turned = op.Concat(
        op.Sub(op.Mul(first, cos), op.Mul(second, sin)), op.Add(op.Mul(second, cos), op.Mul(first, sin)), axis=-1
    )
    return op.Reshape(turned, [0, 0, heads * 2 * half])


def by_token(op: Opset, x: Value, heads: int) -> Value:
    """(B, L, C) -> (B, L, heads, head_dim)."""
    return op.Reshape(x, [0, 0, heads, constant(x, -1)[0] // heads])


def by_head(op: Opset, x: Value, heads: int) -> Value:
    """(B, L, C) -> (B, heads, L, head_dim)."""
    return op.Transpose(by_token(op, x, heads), perm=[0, 2, 1, 3])


def merged(op: Opset, x: Value) -> Value:
    """(B, heads, L, head_dim) -> (B, L, C)."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), [0, 0, -1])


def seen_prefix(op: Opset, k: Value, lengths: Value) -> Value:
    """(B, 1, 1, S) bool: which of each row's keys (B, S, C) are before its length."""
    slots = op.Range(0, *constant(k, 1), 1)
    seen = op.Less(op.Unsqueeze(slots, [0]), op.Unsqueeze(lengths, [1]))
    return op.Unsqueeze(seen, [1, 2])


def table(op: Opset) -> dict[Callable[..., Any], Callable[..., Value]]:
    """What every lowering for TensorRT spells out, in the given opset."""

    def lower_keep_highest(scores: Value, kept: int) -> Value:
        return keep_highest(op, scores, kept)

    def lower_rotate(x: Value, cos: Value, sin: Value, heads: int) -> Value:
        return rotate(op, x, cos, sin, heads)

    def lower_cumsum(x: Value, dim: int, dtype: int | None = None) -> Value:  # noqa: ARG001
        return cumsum(op, x, dim)

    def lower_clamp(x: Value, min: Value | int | None = None, max: Value | int | None = None) -> Value:  # noqa: A002
        return clamp(op, x, min, max)

    return {
        operators.keep_highest: lower_keep_highest,
        operators.rotate: lower_rotate,
        torch.ops.aten.cumsum.default: lower_cumsum,
        torch.ops.aten.clamp.default: lower_clamp,
    }
