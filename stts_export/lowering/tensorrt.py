"""Lowering `tensorrt`: standard ONNX in 16 bits as TensorRT-RTX and TensorRT from 10.15 on read it.

Source: the list of operators in the ONNX parser of TensorRT 10.15. Its `Attention` takes everything by head, in four
dimensions, with a mask and not with lengths; `TensorScatter` writes into a cache that is a network input of four
dimensions; `RotaryEmbedding` wants other inputs than ours, and plain arithmetic is fused anyway.
"""

from __future__ import annotations

from stts_export.lowering import spelled_out, standard
from stts_export.lowering.lowering import Lowering
from stts_export.lowering.spelled_out import by_head, merged, seen_prefix
from stts_export.lowering.standard import Value, constant, op
from stts_export.modules import operators


def attention(q: Value, k: Value, v: Value, heads: int) -> Value:
    return _attention(q, k, v, None, heads)


def key_biased_attention(q: Value, k: Value, v: Value, bias: Value, heads: int) -> Value:
    return _attention(q, k, v, _for_every_query(op.Unsqueeze(bias, [1, 2]), q), heads)


def prefix_attention(q: Value, k: Value, v: Value, lengths: Value, heads: int) -> Value:
    return _attention(q, k, v, _for_every_query(seen_prefix(op, k, lengths), q), heads)


def masked_attention(q: Value, k: Value, v: Value, seen: Value, heads: int, kv_heads: int) -> Value:  # noqa: ARG001
    """Keys and values are caches, by head already."""
    return merged(op, op.Attention(by_head(op, q, heads), k, v, op.Unsqueeze(seen, [0, 1]))[0])


def cache_write(cache: Value, new: Value, start: Value) -> Value:
    return op.TensorScatter(cache, by_head(op, new, *constant(cache, 1)), start, axis=-2)


def _attention(q: Value, k: Value, v: Value, mask: Value | None, heads: int) -> Value:
    return merged(op, op.Attention(*(by_head(op, x, heads) for x in (q, k, v)), mask)[0])


def _for_every_query(mask: Value, q: Value) -> Value:
    """A mask (B, 1, 1, S) with its query dimension spelled out."""
    rows, queries = constant(q, 0, 1)
    return op.Expand(mask, [rows, 1, queries, 1])


TENSORRT = Lowering(
    name="tensorrt",
    opset_version=standard.OPSET_VERSION,
    table={
        **standard.TABLE,
        **spelled_out.table(op),
        operators.attention: attention,
        operators.key_biased_attention: key_biased_attention,
        operators.prefix_attention: prefix_attention,
        operators.masked_attention: masked_attention,
        operators.cache_write: cache_write,
    },
    backend="tensorrt",
    minimum_backend_version="10.15",
    half=True,
    caches_by_head=True,
)
