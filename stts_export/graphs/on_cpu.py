"""Operators that ONNX Runtime has on CUDA only, as functions of standard ones: so that a graph can be checked anywhere.

They say what the operator means and are slow.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto, NodeProto
from onnxscript import script
from onnxscript.values import Opset

from stts_export.lowering.contrib import DOMAIN

op = Opset("", 24)
_OURS = Opset("stts", 1)


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
        q = op.Unsqueeze(op.Slice(query, begin, end, [0]), [0])
        k = op.Unsqueeze(op.Slice(key, begin, end, [0]), [0])
        v = op.Unsqueeze(op.Slice(value, begin, end, [0]), [0])
        own = op.Squeeze(op.Attention(q, k, v, q_num_heads=num_heads, kv_num_heads=num_heads), [0])
        attended = op.Concat(attended, own, axis=0)
    return attended


_FUNCTIONS = {function.name: function.to_function_proto() for function in (PackedMultiHeadAttention,)}


def replace_cuda_only(nodes: Iterable[NodeProto]) -> list[FunctionProto]:
    """Makes nodes call the functions instead, in place; returns the functions that they need."""
    used = set()
    for node in nodes:
        if node.domain == DOMAIN and node.op_type in _FUNCTIONS:
            node.domain = _OURS.domain
            used.add(node.op_type)
    return [_FUNCTIONS[name] for name in sorted(used)]
