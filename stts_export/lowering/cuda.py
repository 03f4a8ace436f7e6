"""Lowering `cuda`: ONNX Runtime's CUDA provider, in 16 bits, with its own fused operators where they pay.

Source of the operators' meaning: ONNX Runtime's list of contrib operators (domain `com.microsoft`). What each is worth
stands in benchmarks/h100/trials-operators.json. None of the attention here takes a mask but the language model's
prefill: whole frames need none, packed frames come with their lengths, and a bias per key travels as further channels.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch

from stts_export.lowering import contrib, standard
from stts_export.lowering.lowering import Lowering
from stts_export.lowering.spelled_out import by_head
from stts_export.lowering.standard import Value, constant, op
from stts_export.modules import operators
from stts_export.modules.packing import packed_attention

_BIAS_CHANNELS = 8
"""Added to every head for the bias: kernels want values of head_dim in steps of 8."""
_ROTARY_STEP = 16
"""GroupQueryAttention normalises and rotates by itself if head_dim is a multiple of this."""


def attention(q: Value, k: Value, v: Value, heads: int) -> Value:
    return _in_fp16(lambda q, k, v: contrib.multi_head_attention(q, k, v, num_heads=heads), q, k, v)


def key_biased_attention(q: Value, k: Value, v: Value, bias: Value, heads: int) -> Value:
    """The bias as channels of its own, since kernels that take one are far slower: queries hold ones there, keys hold
    the bias in two parts, whose sum has more digits than either.
    """
    rows, keys, width = constant(k, 0, 1, 2)
    head_dim = width // heads

    def attend(q: Value, k: Value, v: Value) -> Value:
        unscaled = op.Mul(op.Cast(bias, to=ir.DataType.FLOAT), op.Constant(value_float=head_dim**0.5))
        high = op.Cast(unscaled, to=ir.DataType.FLOAT16)
        low = op.Cast(op.Sub(unscaled, op.Cast(high, to=ir.DataType.FLOAT)), to=ir.DataType.FLOAT16)
        parts = [op.CastLike(op.Unsqueeze(part, [2, 3]), q) for part in (high, low)]
        channels = op.Pad(op.Concat(*parts, axis=3), [0, 0, 0, 0, 0, 0, 0, _BIAS_CHANNELS - 2])
        of_heads = op.Expand(channels, [rows, keys, heads, _BIAS_CHANNELS])
        by_token = [op.Reshape(x, [0, 0, heads, head_dim]) for x in (q, k)]
        ones = op.CastLike(op.Constant(value_float=1.0), q)
        wide_q = op.Pad(by_token[0], [0, 0, 0, 0, 0, 0, 0, _BIAS_CHANNELS], ones)
        wide_k = op.Concat(by_token[1], of_heads, axis=3)
        q, k = (op.Reshape(x, [0, 0, heads * (head_dim + _BIAS_CHANNELS)]) for x in (wide_q, wide_k))
        return contrib.multi_head_attention(q, k, v, num_heads=heads, scale=head_dim**-0.5)

    return _in_fp16(attend, q, k, v)


def packed(q: Value, k: Value, v: Value, frame: Value, frames: int, groups: int, heads: int) -> Value:
    """Frames of any lengths, one after the other. The kernel reads where each begins; the offsets into padded frames,
    which the operator asks for too, are read by kernels for old GPUs alone.
    """
    kept, rows = constant(frame, 0)[0], constant(q, 0)[0]
    patches = rows // kept
    numbers = op.Constant(value_ints=list(range(frames + 1)))
    before = op.Less(op.Unsqueeze(frame, [0]), op.Unsqueeze(numbers, [1]))
    groups_before = op.ReduceSum(op.Cast(before, to=ir.DataType.INT32), [1], keepdims=0)
    starts = op.Mul(groups_before, op.Cast(op.Constant(value_int=patches), to=ir.DataType.INT32))
    # Zeros, made of a number that is one: as a constant they would be in the file once a layer.
    offsets = op.Expand(op.Slice(starts, [0], [1]), [frames, groups * patches])

    def attend(q: Value, k: Value, v: Value) -> Value:
        return contrib.packed_multi_head_attention(q, k, v, None, offsets, starts, num_heads=heads)

    return _in_fp16(attend, q, k, v)


def masked_attention(q: Value, k: Value, v: Value, seen: Value, heads: int, kv_heads: int) -> Value:
    """For a prefill: keys and values (1, L, C) of the call itself."""
    (width,) = constant(k, 2)

    def attend(q: Value, k: Value, v: Value) -> Value:
        highest = op.CastLike(op.Constant(value_float=0.0), q)
        lowest = op.CastLike(op.Constant(value_float=-65504.0), q)
        bias = op.Unsqueeze(op.Where(seen, highest, lowest), [0, 1])
        k, v = (_for_every_query_head(x, heads, kv_heads, width // kv_heads) for x in (k, v))
        return contrib.multi_head_attention(q, k, v, None, None, bias, num_heads=heads)

    return _in_fp16(attend, q, k, v)


def causal_attention(
    q: Value,
    k: Value,
    v: Value,
    q_norm: Value,
    k_norm: Value,
    eps: float,
    cos: Value,
    sin: Value,
    positions: Value,
    keys: Value,
    values: Value,
    last: Value,
    heads: int,
    kv_heads: int,
) -> tuple[Value, ...]:
    """Writes the caches in place where they are bound so. The operator asks for the total length on the host, which a
    CUDA graph cannot change: it gets the largest, and the kernels read the true one on the device.
    """
    rows, slots, width = constant(keys, 0, 2, 3)
    # One sequence of any number of tokens, or one token of each of several.
    axis = [0] if rows == 1 else [1]
    total = op.Cast(op.Constant(value_int=slots), to=ir.DataType.INT32)
    kinds = {"num_heads": heads, "kv_num_heads": kv_heads}
    behind = (keys, values, last, total)
    if width % _ROTARY_STEP or constant(q_norm, 0) != [width]:
        q = _turned(q, q_norm, eps, cos, sin, positions, heads, axis)
        k = _turned(k, k_norm, eps, cos, sin, positions, kv_heads, axis)
        attended, new_keys, new_values = contrib.group_query_attention(q, k, op.Unsqueeze(v, axis), *behind, **kinds)
    else:
        joined = op.Unsqueeze(op.Concat(q, k, v, axis=1), axis)
        tables = (cos, sin, op.Unsqueeze(positions, axis))
        norms = (None, None, None, None, q_norm, k_norm)
        attended, new_keys, new_values = contrib.group_query_attention(
            joined, None, None, *behind, *tables, *norms, **kinds, do_rotary=1, qk_norm_epsilon=eps
        )
    return op.Squeeze(attended, axis), new_keys, new_values


def _turned(
    x: Value, norm: Value, eps: float, cos: Value, sin: Value, positions: Value, heads: int, axis: list[int]
) -> Value:
    """Rows (L, C) normalised and rotated outside the operator, which has conditions: with another `axis` of size 1."""
    (channels,), (width,) = constant(x, 1), constant(norm, 0)
    normed = op.RMSNormalization(op.Reshape(x, [0, channels // width, width]), norm, epsilon=eps)
    rows = [op.Unsqueeze(op.Gather(table, positions, axis=0), axis) for table in (cos, sin)]
    by_row = op.Unsqueeze(op.Reshape(normed, [-1, channels]), axis)
    return op.RotaryEmbedding(by_row, *rows, num_heads=heads)


def group_mean(x: Value) -> Value:
    """As a product: the provider's mean over a dimension in the middle is far slower. Halves of halves are exact, and
    so is the rest of the divisor, so that only the quotient is rounded; the sum is no larger than twice the mean.
    """
    groups, patches = constant(x, 0, 1)
    part = 0.5 ** (patches.bit_length() - 1)
    # One row for every group: products that share a factor are run over lists of addresses, made on the host.
    weights = op.Expand(op.CastLike(op.Constant(value_float=part), x), [groups, 1, patches])
    total = op.Squeeze(op.MatMul(weights, x), [1])
    return op.Div(total, op.CastLike(op.Constant(value_float=patches * part), x))


def cache_write(cache: Value, new: Value, start: Value) -> Value:
    return op.TensorScatter(cache, by_head(op, new, *constant(cache, 1)), start, axis=-2)


def rms_norm(x: Value, weight: Value, eps: float) -> Value:
    # ONNX Runtime's own name for RMSNormalization, which its fused operators go with.
    return op.RMSNormalization(x, weight, epsilon=eps)


def gated(gate: Value, up: Value) -> Value:
    return op.Mul(contrib.quick_gelu(gate, alpha=1.0), up)


def linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """The bias apart, where it can join the operator after it; ONNX Runtime's `Gemm` would spread it out first."""
    product = op.Gemm(x, weight, transB=1)
    return product if bias is None else op.Add(product, bias)


def gelu(x: Value, approximate: str = "none") -> Value:
    if approximate != "tanh":
        raise ValueError(f"FastGelu is the tanh form; got {approximate!r}")
    return contrib.fast_gelu(x)


def _for_every_query_head(x: Value, heads: int, kv_heads: int, width: int) -> Value:
    """(1, L, kv heads x width) -> (1, L, heads x width)."""
    by_token = op.Reshape(x, [0, 0, kv_heads, 1, width])
    repeated = op.Expand(by_token, [1, 1, 1, heads // kv_heads, 1])
    return op.Reshape(repeated, [0, 0, heads * width])


def _in_fp16(attend: Callable[..., Value], *operands: Value) -> Value:
    """These kernels know no bf16; queries, keys and values are after norms and well within fp16, which has more
    digits.
    """
    if operands[0].dtype != ir.DataType.BFLOAT16:
        return attend(*operands)
    narrow = [op.Cast(x, to=ir.DataType.FLOAT16) for x in operands]
    return op.Cast(attend(*narrow), to=ir.DataType.BFLOAT16)


CUDA = Lowering(
    name="cuda",
    opset_version=standard.OPSET_VERSION,
    table={
        **standard.TABLE,
        operators.attention: attention,
        operators.key_biased_attention: key_biased_attention,
        packed_attention: packed,
        operators.masked_attention: masked_attention,
        operators.causal_attention: causal_attention,
        operators.group_mean: group_mean,
        operators.cache_write: cache_write,
        operators.rms_norm: rms_norm,
        operators.gated: gated,
        torch.ops.aten.linear.default: linear,
        torch.ops.aten.gelu.default: gelu,
    },
    backend="onnxruntime-cuda",
    minimum_backend_version="1.31",
    half=True,
    caches_by_head=True,
    fused=True,
    weights_as_inputs=True,
    prefill_apart=True,
)
"""One table for fp16 and bf16."""
