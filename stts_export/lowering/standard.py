"""Our operators in standard ONNX, opset 24, which ONNX Runtime and TensorRT read alike.

Source of the operators' meaning: the ONNX operator reference, opsets 23 (Attention, RotaryEmbedding,
RMSNormalization) and 24 (TensorScatter, `nonpad_kv_seqlen`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript.values import Opset

from stts_export.modules import operators

OPSET_VERSION = 24
op = Opset("", OPSET_VERSION)

Value = Any
"""A value of the ONNX graph being traced; onnxscript has no types for it."""


def attention(q: Value, k: Value, v: Value, heads: int) -> Value:
    return op.Attention(q, k, v, q_num_heads=heads, kv_num_heads=heads)[0]


def key_biased_attention(q: Value, k: Value, v: Value, bias: Value, heads: int) -> Value:
    # ONNX Runtime wants the mask's query dimension spelled out: a size of 1 is refused.
    rows, queries = constant(q, 0, 1)
    mask = op.Expand(op.Unsqueeze(bias, [1, 2]), [rows, 1, queries, 1])
    return op.Attention(q, k, v, mask, q_num_heads=heads, kv_num_heads=heads)[0]


def prefix_attention(q: Value, k: Value, v: Value, lengths: Value, heads: int) -> Value:
    return op.Attention(q, k, v, None, None, None, lengths, q_num_heads=heads, kv_num_heads=heads)[0]


def masked_attention(q: Value, k: Value, v: Value, seen: Value, heads: int, kv_heads: int) -> Value:
    # (L, S), or of several sequences each its own.
    mask = seen if len(seen.shape) > 2 else op.Unsqueeze(seen, [0, 1])
    return op.Attention(q, k, v, mask, q_num_heads=heads, kv_num_heads=kv_heads)[0]


def cache_write(cache: Value, new: Value, start: Value) -> Value:
    return op.TensorScatter(cache, new, start, axis=1)


def rotate(x: Value, cos: Value, sin: Value, heads: int) -> Value:
    return op.RotaryEmbedding(x, cos, sin, num_heads=heads)


def rms_norm(x: Value, weight: Value, eps: float) -> Value:
    return op.RMSNormalization(x, weight, epsilon=eps)


def keep_highest(scores: Value, kept: int) -> Value:
    # TopK breaks ties in favour of the lower index, so sorting everything upwards puts the lower of two equal scores
    # among those to drop, as the reference does.
    (count,) = constant(scores, -1)
    _, ascending = op.TopK(scores, [count], axis=-1, largest=0, sorted=1)
    highest = op.Slice(ascending, [count - kept], [count], [-1])
    in_order, _ = op.TopK(highest, [kept], axis=-1, largest=0, sorted=1)
    return in_order


def constant(value: Value, *axes: int) -> list[int]:
    """Sizes of a value along `axes`, which must be constants."""
    sizes = [None if value.shape is None else value.shape[axis] for axis in axes]
    if any(not isinstance(size, int) for size in sizes):
        raise ValueError(f"{value.name} needs constant sizes along {list(axes)}, got {value.shape}")
    return [int(str(size)) for size in sizes]


TABLE: dict[Callable[..., Any], Callable[..., Value]] = {
    operators.attention: attention,
    operators.key_biased_attention: key_biased_attention,
    operators.prefix_attention: prefix_attention,
    operators.masked_attention: masked_attention,
    operators.cache_write: cache_write,
    operators.rotate: rotate,
    operators.rms_norm: rms_norm,
    operators.keep_highest: keep_highest,
}
