"""Lowering `tensorrt-10`: opset 20, in 16 bits, for TensorRT 10.3 (JetPack 6) to 10.14.

These lack operators of opset 23 and 24, the older of them all.

Attention is spelled out as products and a softmax, which TensorRT fuses where it can. The cache goes in and comes out
as another tensor: nothing in opset 20 writes in place. What depends on the number of tokens comes from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import onnx
from onnxscript.values import Opset

from stts_export.lowering import spelled_out
from stts_export.lowering.lowering import Lowering
from stts_export.lowering.spelled_out import by_head, by_token, merged, seen_prefix
from stts_export.lowering.standard import Value, constant
from stts_export.modules import operators

OPSET_VERSION = 20


def as_function(method: Callable[..., Value]) -> Callable[..., Value]:
    """As the exporter wants what a table holds: it notes the signature on it, which bound methods do not allow."""

    @wraps(method)
    def call(*args: Any, **attributes: Any) -> Value:
        return method(*args, **attributes)

    return call


class Decomposed:
    """Our operators as products, softmax and other plain operators of any opset."""

    def __init__(self, op: Opset) -> None:
        self.op = op

    def table(self) -> dict[Callable[..., Any], Callable[..., Value]]:
        return {
            **spelled_out.table(self.op),
            operators.attention: as_function(self.attention),
            operators.key_biased_attention: as_function(self.key_biased_attention),
            operators.prefix_attention: as_function(self.prefix_attention),
            operators.masked_attention: as_function(self.masked_attention),
            operators.cache_merge: as_function(self.cache_merge),
            operators.rms_norm: as_function(self.rms_norm),
        }

    def attention(self, q: Value, k: Value, v: Value, heads: int) -> Value:
        return self._weighted(self._logits(q, k, heads), v, heads)

    def key_biased_attention(self, q: Value, k: Value, v: Value, bias: Value, heads: int) -> Value:
        logits = self.op.Add(self._logits(q, k, heads), self.op.Unsqueeze(bias, [1, 2]))
        return self._weighted(logits, v, heads)

    def prefix_attention(self, q: Value, k: Value, v: Value, lengths: Value, heads: int) -> Value:
        seen = seen_prefix(self.op, k, lengths)
        return self._weighted(self._masked(seen, self._logits(q, k, heads)), v, heads)

    def masked_attention(self, q: Value, k: Value, v: Value, seen: Value, heads: int, kv_heads: int) -> Value:
        """Keys and values come by head (1, kv heads, S, d); queries that share a head get a dimension of their own."""
        op, (width,) = self.op, constant(k, -1)
        q = op.Mul(q, op.CastLike(op.Constant(value_float=width**-0.5), q))
        q_BkrLd = op.Transpose(op.Reshape(q, [0, 0, kv_heads, heads // kv_heads, width]), perm=[0, 2, 3, 1, 4])
        k_Bk1dS = op.Unsqueeze(op.Transpose(k, perm=[0, 1, 3, 2]), [2])
        logits = self._masked(op.Unsqueeze(seen, [0, 1, 2]), op.MatMul(q_BkrLd, k_Bk1dS))
        attended = op.MatMul(op.Softmax(logits), op.Unsqueeze(v, [2]))
        return op.Reshape(op.Transpose(attended, perm=[0, 3, 1, 2, 4]), [0, 0, heads * width])

    def cache_merge(self, cache: Value, new: Value, row: Value, is_new: Value) -> Value:
        op, (heads,) = self.op, constant(cache, 1)
        return op.Where(op.Unsqueeze(is_new, [1]), op.Gather(by_head(op, new, heads), row, axis=2), cache)

    def rms_norm(self, x: Value, weight: Value, eps: float) -> Value:
        op = self.op
        wide = op.Cast(x, to=onnx.TensorProto.FLOAT)
        mean_square = op.ReduceMean(op.Mul(wide, wide), [-1], keepdims=1)
        normed = op.Div(wide, op.Sqrt(op.Add(mean_square, op.Constant(value_float=eps))))
        return op.Mul(op.CastLike(normed, x), weight)

    def _logits(self, q: Value, k: Value, heads: int) -> Value:
        """Scaled products (B, heads, queries, keys); the queries are scaled first, so that less of them overflows."""
        op = self.op
        scale = op.CastLike(op.Constant(value_float=(constant(q, -1)[0] // heads) ** -0.5), q)
        k_BHdS = op.Transpose(by_token(op, k, heads), perm=[0, 2, 3, 1])
        return op.MatMul(op.Mul(by_head(op, q, heads), scale), k_BHdS)

    def _weighted(self, logits: Value, v: Value, heads: int) -> Value:
        return merged(self.op, self.op.MatMul(self.op.Softmax(logits), by_head(self.op, v, heads)))

    def _masked(self, seen: Value, logits: Value) -> Value:
        return self.op.Where(seen, logits, self.op.CastLike(self.op.Constant(value_float=float("-inf")), logits))


TENSORRT_10 = Lowering(
    name="tensorrt-10",
    opset_version=OPSET_VERSION,
    table=Decomposed(Opset("", OPSET_VERSION)).table(),
    backend="tensorrt",
    minimum_backend_version="10.3",
    half=True,
    caches_in_place=False,
    caches_by_head=True,
    host_indices=True,
)
