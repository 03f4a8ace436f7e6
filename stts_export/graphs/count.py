"""Counts the multiplications of a graph: matrix products and attention, which are all that matters at these sizes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import onnx_ir as ir

from stts_export.errors import ExportError
from stts_runtime.bundle.manifest import Work


class Counted(NamedTuple):
    """Multiplications by what does them, since engines reach other rates in each."""

    products: Work
    attention: Work

    @property
    def total(self) -> Work:
        pairs = zip(self.products, self.attention, strict=True)
        return Work(**{name: number + other for (name, number), (_, other) in pairs})


def count_multiplications(model: ir.Model) -> Counted:
    """Multiplications of one run, as a function of the symbolic length.

    Raises `ExportError` if a product's shape is unknown.
    """
    return Counted(*(_work(model, kinds) for kinds in (_PRODUCTS, _ATTENTION)))


def _work(model: ir.Model, kinds: _Kinds) -> Work:
    one, two, three = (
        sum(kinds[node.op_type](node, tokens) for node in model.graph if node.op_type in kinds) for tokens in (1, 2, 3)
    )
    squared = (three - 2 * two + one) // 2
    per_token = two - one - 3 * squared
    return Work(fixed=one - per_token - squared, per_token=per_token, per_token_squared=squared)


def _gemm(node: ir.Node, tokens: int) -> int:
    rows, inner = _shape(node, 0, tokens)
    columns = _shape(node, 1, tokens)[0 if node.attributes.get_int("transB", 0) else 1]
    return rows * inner * columns


def _matmul(node: ir.Node, tokens: int) -> int:
    left, right = _shape(node, 0, tokens), _shape(node, 1, tokens)
    return max(prod(left[:-2]), prod(right[:-2])) * left[-2] * left[-1] * right[-1]


def _attention(node: ir.Node, tokens: int) -> int:
    """(rows, tokens, channels), or by head (rows, heads, tokens, head_dim)."""
    queries, keys, values = (_shape(node, number, tokens) for number in range(3))
    heads = node.attributes.get_int("q_num_heads", 1) // node.attributes.get_int("kv_num_heads", 1)
    return (prod(queries) + prod(queries[:-1]) * values[-1] * heads) * keys[-2]


def _packed(node: ir.Node, tokens: int) -> int:
    """How long each sequence is, is known in a run only: as if all but a whole first one were equally long."""
    rows, channels = _shape(node, 0, tokens)
    sequences, longest = _shape(node, 4, tokens)
    others = max(sequences - 1, 1)
    squares = longest**2 + (rows - longest) ** 2 // others if sequences > 1 else rows**2
    return 2 * channels * squares


def _cached(node: ir.Node, tokens: int) -> int:
    """Over a whole cache (rows, kv heads, slots, head_dim), as if it were full."""
    heads = node.attributes.get_int("num_heads", 0)
    new = _shape(node, 0, tokens)[-2]
    slots, width = _shape(node, 3, tokens)[-2:]
    return 2 * heads * new * slots * width


_Kinds = dict[str, Callable[[ir.Node, int], int]]
_PRODUCTS: _Kinds = {"Gemm": _gemm, "MatMul": _matmul}
_ATTENTION: _Kinds = {
    "Attention": _attention,
    "MultiHeadAttention": _attention,
    "PackedMultiHeadAttention": _packed,
    "GroupQueryAttention": _cached,
}


def _shape(node: ir.Node, number: int, tokens: int) -> list[int]:
    value = node.inputs[number]
    if value is None or value.shape is None:
        raise ExportError(f"the shape of input {number} of {node.name} ({node.op_type}) is unknown; cannot count")
    return [size if isinstance(size, int) else tokens for size in value.shape]
