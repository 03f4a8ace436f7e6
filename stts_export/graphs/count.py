"""Counts the multiplications of a graph: matrix products and attention, which are all that matters at these sizes."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from stts_export.errors import ExportError
from stts_runtime.bundle.manifest import Work


def count_multiplications(model: ir.Model) -> Work:
    """Multiplications of one run; `per_token` is what each further token of the symbolic length adds.

    Raises `ExportError` if a product's shape is unknown.
    """
    one, two = (sum(_node(node, tokens) for node in model.graph) for tokens in (1, 2))
    return Work(fixed=2 * one - two, per_token=two - one)


def _node(node: ir.Node, tokens: int) -> int:
    if node.op_type == "Gemm":
        rows, inner = _shape(node, 0, tokens)
        columns = _shape(node, 1, tokens)[0 if node.attributes.get_int("transB", 0) else 1]
        return rows * inner * columns
    if node.op_type == "MatMul":
        left, right = _shape(node, 0, tokens), _shape(node, 1, tokens)
        return max(prod(left[:-2]), prod(right[:-2])) * left[-2] * left[-1] * right[-1]
    if node.op_type == "Attention":
        # (rows, tokens, channels), or by head (rows, heads, tokens, head width)
        queries, keys = _shape(node, 0, tokens), _shape(node, 1, tokens)
        return 2 * prod(queries) * keys[-2]
    return 0


def _shape(node: ir.Node, number: int, tokens: int) -> list[int]:
    value = node.inputs[number]
    if value is None or value.shape is None:
        raise ExportError(f"the shape of input {number} of {node.name} ({node.op_type}) is unknown; cannot count")
    return [size if isinstance(size, int) else tokens for size in value.shape]
