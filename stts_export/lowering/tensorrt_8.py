"""Lowering `tensorrt-8`: opset 17, in fp16, for TensorRT 8.6 (JetPack 6.0) to 10.2.

As `tensorrt-10`, but for what the parser of 8.6 does not read and what it makes slow: GELU is spelled out, and masks of
the vision tower ride in channels of the heads (`modules.wide_heads`). That of the language model is added, finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from onnxscript.values import Opset

from stts_export.lowering.decomposed import TENSORRT_10, Decomposed, as_function
from stts_export.lowering.lowering import OLDEST_EXPORTED_OPSET
from stts_export.lowering.spelled_out import by_head, by_token, merged
from stts_export.lowering.standard import Value, constant
from stts_export.modules import operators

_LOWEST = -30000.0
"""Added to the logits of what is not seen: finite in fp16, and its exponential is 0 next to any seen one."""

_LOWEST_OF_ALL = float(np.finfo(np.float16).min)
"""Lowest fp16 value: no logit is below it."""
_STRETCH = 1024
"""Numbers that are searched for the highest of them at once."""


class _Opset17(Decomposed):
    def table(self) -> dict[Callable[..., Any], Callable[..., Value]]:
        return {
            **super().table(),
            operators.channel_biased_attention: as_function(self.channel_biased_attention),
            torch.ops.aten.argmax.default: as_function(self.argmax),
            torch.ops.aten.gelu.default: as_function(self.gelu),
            torch.ops.aten.softmax.int: as_function(self.softmax),
        }

    def channel_biased_attention(self, q: Value, k: Value, v: Value, bias: Value, heads: int, spare: int) -> Value:
        """The bias as one more channel (`modules.wide_heads`): nothing stands between the products and the softmax."""
        op, (channels,) = self.op, constant(q, -1)
        width = channels // heads - spare
        channel = op.CastLike(op.Constant(value_floats=[*[0.0] * width, 1.0, *[0.0] * (spare - 1)]), q)
        scale = op.CastLike(op.Constant(value_float=width**-0.5), q)
        q_BMHd = op.Add(op.Mul(by_token(op, q, heads), scale), channel)
        k_BSHd = op.Add(by_token(op, k, heads), op.Mul(op.Unsqueeze(bias, [2, 3]), channel))
        logits = op.MatMul(op.Transpose(q_BMHd, perm=[0, 2, 1, 3]), op.Transpose(k_BSHd, perm=[0, 2, 3, 1]))
        attended_BHMd = op.MatMul(op.Softmax(logits), by_head(op, v, heads))
        used = op.Slice(op.Transpose(attended_BHMd, perm=[0, 2, 1, 3]), [0], [width], [3])
        return op.Reshape(used, [0, 0, heads * width])

    def masked_attention(self, q: Value, k: Value, v: Value, seen: Value, heads: int, kv_heads: int) -> Value:
        """The queries that share keys are rows of one product, so that keys and values are not spread over them.

        A product that repeats an operand over a dimension of its own may copy it first: for a single token, four times
        the cache of each layer. Rows lie token by token, so that what a token sees is added to all of its queries.
        """
        op, (slots, width) = self.op, constant(k, 2, 3)
        shared = heads // kv_heads
        scale = op.CastLike(op.Constant(value_float=width**-0.5), q)
        q_BkRd = op.Mul(op.Reshape(by_head(op, q, kv_heads), [0, 0, -1, width]), scale)
        logits_BkLrS = op.Reshape(op.MatMul(q_BkRd, op.Transpose(k, perm=[0, 1, 3, 2])), [0, 0, -1, shared, slots])
        weights = op.Softmax(self._masked(op.Unsqueeze(seen, [0, 1, 3]), logits_BkLrS))
        attended_BkRd = op.MatMul(op.Reshape(weights, [0, 0, -1, slots]), v)
        return merged(op, op.Reshape(attended_BkRd, [0, 0, -1, shared * width]))

    def argmax(self, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        """The highest of each stretch of a row (1, n), and then the highest of those: (1,), the lower of equal ones.

        A search of one row is work for few threads, and a vocabulary is one of 151,936 logits.
        """
        rows, count = constant(x, 0, 1)
        if (rows, dim, keepdim) != (1, -1, False):
            raise ValueError("an argmax is written down along one row only")
        op, stretches = self.op, -(-count // _STRETCH)
        padding = [_LOWEST_OF_ALL] * (stretches * _STRETCH - count)
        if padding:
            x = op.Concat(x, op.CastLike(op.Unsqueeze(op.Constant(value_floats=padding), [0]), x), axis=-1)
        highest, place = op.TopK(op.Reshape(x, [stretches, -1]), [1], axis=-1)
        stretch = op.ArgMax(highest, axis=0, keepdims=0)
        within = op.Reshape(op.Gather(place, stretch), [1])
        return op.Add(op.Mul(stretch, op.Constant(value_int=_STRETCH)), within)

    def softmax(self, x: Value, dim: int) -> Value:
        """Less the highest first, which changes nothing but what 8.6 takes it for.

        The pooling of a group (`modules.layers.GroupPooling`) is two products around a softmax over nine patches. In
        fp16 8.6.0 computed it as an attention and gave each group what another head of another group should have had
        (on an H200, at widths of 32 and 160). With something between product and softmax it does not.
        """
        op = self.op
        return op.Softmax(op.Sub(x, op.ReduceMax(x, op.Constant(value_ints=[dim]))), axis=dim)

    def rms_norm(self, x: Value, weight: Value, eps: float) -> Value:
        """A layer norm of x and -x, whose mean is 0 and whose variance is the mean square of x; half of it is used.

        The only norm that a weakly typed network computes in float32: it heeds no Cast, and squares of a visual token's
        values (1e3) overflow fp16. On an H100 8.6.0 gave such rows a norm of 0, and answers were wrong.
        """
        op = self.op
        twice = op.Concat(x, op.Neg(x), axis=-1)
        normed, _, _ = op.LayerNormalization(twice, op.Concat(weight, weight, axis=0), axis=-1, epsilon=eps)
        half, _ = op.Split(normed, axis=-1, num_outputs=2)
        return half

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
    seat_sizes=2,
    spare_channels=8,
    derives_weights=True,
    has_bf16=False,
)
