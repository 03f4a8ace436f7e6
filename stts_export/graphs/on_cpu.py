"""Operators that ONNX Runtime has on CUDA only, as functions of standard ones: so that a graph can be checked anywhere.

They say what the operator means and are slow.
"""

from __future__ import annotations

from onnx import FunctionProto, ModelProto, helper
from onnxscript import script
from onnxscript.values import Opset

from stts_export.lowering.contrib import DOMAIN

op = Opset("", 24)
_OURS = Opset("stts", 1)
_CONTRIB = Opset(DOMAIN, 1)


@script(_OURS, default_opset=op)
def PackedMultiHeadAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    query,
    key,
    value,
    bias,  # noqa: ARG001
    token_offset,  # noqa: ARG001
    cumulative_sequence_length,
    num_heads: int,
):
    """Every row attends within its own sequence: rows (M, C), where each sequence begins and ends (sequences + 1,)."""
    sequences = op.Sub(op.Size(cumulative_sequence_length), 1)
    attended = op.Slice(query, [0], [0], [0])
    for number in range(sequences):
        begin = op.Cast(op.Gather(cumulative_sequence_length, op.Unsqueeze(number, [0])), to=7)
        end = op.Cast(op.Gather(cumulative_sequence_length, op.Unsqueeze(number + 1, [0])), to=7)
        # Of an empty sequence, which the operator below does not take, some row is computed and dropped again.
        first = op.Min(begin, op.Sub(op.Shape(query, start=0, end=1), op.Constant(value_ints=[1])))
        last = op.Max(end, op.Add(first, op.Constant(value_ints=[1])))
        q = op.Unsqueeze(op.Slice(query, first, last, [0]), [0])
        k = op.Unsqueeze(op.Slice(key, first, last, [0]), [0])
        v = op.Unsqueeze(op.Slice(value, first, last, [0]), [0])
        own = op.Squeeze(op.Attention(q, k, v, q_num_heads=num_heads, kv_num_heads=num_heads), [0])
        attended = op.Concat(attended, op.Slice(own, [0], op.Sub(end, begin), [0]), axis=0)
    return attended


@script(_OURS, default_opset=op)
def GroupQueryAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    query,
    key,  # noqa: ARG001
    value,  # noqa: ARG001
    past_key,
    past_value,
    seqlens_k,
    total_sequence_length,
    cos_cache,
    sin_cache,
    position_ids,
    attention_bias,  # noqa: ARG001
    head_sink,  # noqa: ARG001
    k_scale,  # noqa: ARG001
    v_scale,  # noqa: ARG001
    q_norm_weight,
    k_norm_weight,
    num_heads: int,
    kv_num_heads: int,
    do_rotary: int,
    qk_norm_epsilon: float,
):
    """The norms apart, and the rest as ONNX Runtime's CPU provider has it; the query holds keys and values too."""
    width = op.Shape(past_key, start=3, end=4)
    kv_channels = op.Mul(op.Shape(past_key, start=1, end=2), width)
    q_channels = op.Sub(op.Shape(query, start=2, end=3), op.Mul(kv_channels, 2))
    q, k, v = op.Split(query, op.Concat(q_channels, kv_channels, kv_channels, axis=0), axis=2)
    heads = op.Concat(op.Constant(value_ints=[0, 0, -1]), width, axis=0)
    q_normed = op.RMSNormalization(op.Reshape(q, heads), q_norm_weight, epsilon=qk_norm_epsilon)
    k_normed = op.RMSNormalization(op.Reshape(k, heads), k_norm_weight, epsilon=qk_norm_epsilon)
    output, present_key, present_value = _CONTRIB.GroupQueryAttention(
        op.Reshape(q_normed, op.Constant(value_ints=[0, 0, -1])),
        op.Reshape(k_normed, op.Constant(value_ints=[0, 0, -1])),
        v,
        past_key,
        past_value,
        seqlens_k,
        total_sequence_length,
        cos_cache,
        sin_cache,
        position_ids,
        num_heads=num_heads,
        kv_num_heads=kv_num_heads,
        do_rotary=do_rotary,
    )
    return output, present_key, present_value


@script(_OURS, default_opset=op)
def MatMulBlockQuantizedFp8Weight(  # type: ignore[no-untyped-def]  # noqa: N802
    activation,
    values,
    scales,
    block_size: int,
):
    """Rows (..., K) in 16 bits times the transpose of E4M3 values (N, K), with scales (N, blocks) float32."""
    weight = op.DequantizeLinear(values, scales, axis=1, block_size=block_size)
    wide = op.MatMul(op.Cast(activation, to=1), op.Transpose(weight, perm=[1, 0]))
    return op.CastLike(wide, activation)


_FUNCTIONS = {
    function.name: function.to_function_proto()
    for function in (PackedMultiHeadAttention, GroupQueryAttention, MatMulBlockQuantizedFp8Weight)
}


def make_runnable_on_cpu(model: ModelProto) -> None:
    """Makes the nodes of a graph call the functions instead, in place."""
    used = set()
    for node in model.graph.node:
        # Without norms the CPU provider has the second as well.
        if node.domain == DOMAIN and len(node.input) == len(_FUNCTIONS.get(node.op_type, FunctionProto()).input):
            node.domain = _OURS.domain
            used.add(node.op_type)
    if used:
        model.functions.extend(_FUNCTIONS[name] for name in sorted(used))
        model.opset_import.append(helper.make_opsetid(_OURS.domain, 1))
