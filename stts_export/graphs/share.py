"""Equal constants become one, so that what every layer computes from them alike is computed once.

The optimizer does so for small constants only. Here belong the numbered slots of the packing, from which each packed
layer would otherwise find out again who sits where. Weights are left alone: they keep their own names, and may be
placeholders that all look alike while the graph is made.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
from onnx_ir.passes import common

_MOST_ELEMENTS = 1 << 17


def share_constants(model: ir.Model, weights: Collection[str]) -> None:
    """In place; `weights` are the names of initializers that stay."""
    first: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value] = {}
    initializers = model.graph.initializers
    for name, value in tuple(initializers.items()):
        tensor = value.const_value
        if name in weights or tensor is None or tensor.size > _MOST_ELEMENTS or value.is_graph_output():
            continue
        shared = first.setdefault((tensor.dtype, tensor.numpy().shape, tensor.tobytes()), value)
        if shared is not value:
            value.replace_all_uses_with(shared)
            initializers.pop(name)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
