"""How much memory a graph's own tensors take at the most, if each is freed right after its last use."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from stts_export.errors import ExportError

_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
"""Operators whose result is the same memory as their first input."""

_LIKE_INPUT = {"QuickGelu"}
"""Operators of ONNX Runtime's own, whose result is as large as their first input, which no shape inference knows."""


def peak_bytes(model: ir.Model, tokens: int) -> int:
    """Bytes at the fullest moment of one run with that symbolic length; what the caller binds or holds (inputs,
    outputs, weights) is not counted. No operator is assumed to write over its input.

    Raises `ExportError` if the shape or type of a tensor is unknown.
    """
    nodes = list(model.graph)
    owner: dict[ir.Value, ir.Value] = {}
    last_use: dict[ir.Value, int] = {}
    for number, node in enumerate(nodes):
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                last_use[_owner(value, owner)] = number
    for value in model.graph.outputs:
        last_use[_owner(value, owner)] = len(nodes)
    outside = {_owner(value, owner) for value in model.graph.outputs}
    live = peak = 0
    for number, node in enumerate(nodes):
        own = [value for value in node.outputs if _owner(value, owner) is value and value not in outside]
        live += sum(_bytes(value, tokens) for value in own if value.name)
        peak = max(peak, live)
        ending = {_owner(value, owner) for value in (*node.inputs, *node.outputs) if value is not None} - outside
        live -= sum(
            _bytes(value, tokens) for value in ending if last_use[value] == number and value.producer() is not None
        )
    return peak


def _owner(value: ir.Value, known: dict[ir.Value, ir.Value]) -> ir.Value:
    """The value whose memory this one is in."""
    if value not in known:
        node = value.producer()
        source = node.inputs[0] if node is not None and node.op_type in _VIEWS else None
        known[value] = value if source is None else _owner(source, known)
    return known[value]


def _bytes(value: ir.Value, tokens: int) -> int:
    if not value.uses() and not value.is_graph_output():
        return 0
    node = value.producer()
    if value.shape is None and node is not None and node.op_type in _LIKE_INPUT:
        value = node.inputs[0] or value
    if value.shape is None or value.dtype is None:
        raise ExportError(f"the shape of {value.name} is unknown; cannot tell its size")
    return int(prod(size if isinstance(size, int) else tokens for size in value.shape) * value.dtype.itemsize)
