"""A graph that computes in float32 over weights that are stored in 16 bits.

A matrix is widened right before the product that takes it and forgotten after it, so that no more than one is held in
float32 at a time. An engine runs what depends on no input first, and would widen all of them at once; so the cast is
made to depend on the product's other factor: the matrix is given a shape that is computed from that factor's.
"""

from __future__ import annotations

import onnx_ir as ir

_LOOKUP = "Gather"
_PRODUCT = "Gemm"


def cast_where_used(model: ir.Model, weight: ir.Value, stored: ir.DataType) -> None:
    """Makes `weight` one of type `stored`, and casts it in front of every node that takes it.

    A lookup takes few of its rows, so there they are cast after it.
    """
    computed = weight.dtype
    assert computed is not None
    uses = list(weight.uses())
    weight.type = ir.TensorType(stored)
    others: list[tuple[ir.Node, int]] = []
    for node, place in uses:
        if node.op_type == _LOOKUP:
            _cast_behind(model, node, stored, computed)
        elif node.op_type == _PRODUCT and place == 1:
            _cast_when_reached(model, node, weight, computed)
        else:
            others.append((node, place))
    if others:
        users = {id(node) for node, _ in others}
        cast = _cast(weight, f"{weight.name}.widened", computed)
        model.graph.insert_before(next(node for node in model.graph if id(node) in users), cast)
        for node, place in others:
            node.replace_input_with(place, cast.outputs[0])


def _cast_behind(model: ir.Model, lookup: ir.Node, stored: ir.DataType, computed: ir.DataType) -> None:
    rows = lookup.outputs[0]
    uses = list(rows.uses())
    rows.type = ir.TensorType(stored)
    cast = _cast(rows, f"{rows.name}.widened", computed)
    model.graph.insert_after(lookup, cast)
    for node, place in uses:
        node.replace_input_with(place, cast.outputs[0])


def _cast_when_reached(model: ir.Model, product: ir.Node, weight: ir.Value, computed: ir.DataType) -> None:
    factor, name = product.inputs[0], f"{weight.name}.widened.{product.outputs[0].name}"
    assert factor is not None
    assert weight.shape is not None
    nothing = _constant(model, f"{name}.nothing", [0, 0])
    itself = _constant(model, f"{name}.shape", [int(size) for size in weight.shape.numpy()])
    size = ir.node("Shape", [factor], attributes={"start": 0, "end": 1})
    zero = ir.node("Mul", [size.outputs[0], nothing])
    shape = ir.node("Add", [zero.outputs[0], itself])
    same = ir.node("Reshape", [weight, shape.outputs[0]])
    same.outputs[0].type, same.outputs[0].shape = weight.type, weight.shape
    cast = _cast(same.outputs[0], name, computed)
    steps = [size, zero, shape, same, cast]
    for step, what in zip(steps, ("size", "zero", "reached", "same"), strict=False):
        step.outputs[0].name = f"{name}.{what}"
    model.graph.insert_before(product, steps)
    product.replace_input_with(1, cast.outputs[0])


def _constant(model: ir.Model, name: str, numbers: list[int]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(numbers, dtype=ir.DataType.INT64, name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([len(numbers)])
    model.graph.register_initializer(value)
    return value


def _cast(value: ir.Value, name: str, to: ir.DataType) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": to})
    cast.outputs[0].name = name
    cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(to), value.shape
    return cast
