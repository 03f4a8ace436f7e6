"""Joins products of the same rows whose results lie side by side anyway into one product over joined weights.

A single token is as much work to launch as many, so one large product is faster than three small ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from stts_runtime.bundle.contract import JOINED_BY


def join_products(model: ir.Model) -> None:
    """Works on graphs that take their weights as inputs; in place."""
    for concat in [node for node in model.graph if node.op_type == "Concat"]:
        products = [value.producer() if value is not None else None for value in concat.inputs]
        if all(product is not None and _may_join(product) for product in products):
            _join(model, concat, [product for product in products if product is not None])
    _drop_unused_inputs(model)


def _may_join(product: ir.Node) -> bool:
    """Whether it is rows times a transposed weight, without a bias, that nothing else uses."""
    weight = product.inputs[1] if product.op_type == "Gemm" and len(product.inputs) == 2 else None
    return weight is not None and weight.is_graph_input() and len(list(product.outputs[0].uses())) == 1


def _join(model: ir.Model, concat: ir.Node, products: Sequence[ir.Node]) -> None:
    rows, weights = products[0].inputs[0], [product.inputs[1] for product in products]
    if any(product.inputs[0] is not rows for product in products):
        return
    joined = _joined_weight([weight for weight in weights if weight is not None])
    model.graph.inputs.append(joined)
    product = ir.node("Gemm", [rows, joined], attributes={"transB": 1})
    result = concat.outputs[0]
    product.outputs[0].shape, product.outputs[0].type = result.shape, result.type
    product.outputs[0].name = f"{result.name}.product"
    model.graph.insert_before(concat, product)
    result.replace_all_uses_with(product.outputs[0])
    model.graph.remove([concat, *products], safe=True)


def _joined_weight(weights: Sequence[ir.Value]) -> ir.Value:
    shapes = [weight.shape.numpy() for weight in weights if weight.shape is not None]
    shape = ir.Shape([sum(int(rows) for rows, _ in shapes), int(shapes[0][1])])
    return ir.Value(name=JOINED_BY.join(str(weight.name) for weight in weights), type=weights[0].type, shape=shape)


def _drop_unused_inputs(model: ir.Model) -> None:
    kept = [value for value in model.graph.inputs if list(value.uses())]
    model.graph.inputs.clear()
    model.graph.inputs.extend(kept)
