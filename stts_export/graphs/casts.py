"""A graph that computes in float32 over weights that are stored in 16 bits."""

from __future__ import annotations

import onnx_ir as ir

_LOOKUP = "Gather"


def cast_where_used(model: ir.Model, weight: ir.Value, stored: ir.DataType) -> None:
    """Makes `weight` one of type `stored`, and casts back in front of every node that takes it.

    A lookup takes few of its rows, so there they are cast behind it.
    """
    computed = weight.dtype
    assert computed is not None
    uses = list(weight.uses())
    weight.type = ir.TensorType(stored)
    direct = [(node, place) for node, place in uses if node.op_type != _LOOKUP]
    if direct:
        cast = _cast(weight, computed)
        users = {id(node) for node, _ in direct}
        model.graph.insert_before(next(node for node in model.graph if id(node) in users), cast)
        for node, place in direct:
            node.replace_input_with(place, cast.outputs[0])
    for node, _ in uses:
        if node.op_type == _LOOKUP:
            _cast_behind(model, node, stored, computed)


def _cast_behind(model: ir.Model, lookup: ir.Node, stored: ir.DataType, computed: ir.DataType) -> None:
    rows = lookup.outputs[0]
    uses = list(rows.uses())
    rows.type = ir.TensorType(stored)
    cast = _cast(rows, computed)
    model.graph.insert_after(lookup, cast)
    for node, place in uses:
        node.replace_input_with(place, cast.outputs[0])


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": to})
    cast.outputs[0].name = f"{value.name}.widened"
    cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(to), value.shape
    return cast
