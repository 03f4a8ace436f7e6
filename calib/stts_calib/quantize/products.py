"""Products with weights in a graph: what quantization is about, named by their weights.

Every variant of a bundle has its own name for an activation, but all use the same weights; so what is known about a
product, such as the range of its activation, is known by the name of its weight.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, helper

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_SCORER = "temporal_token_scorer."
SCORER = "scorer"
HEAD = "lm_head"


@dataclass(frozen=True)
class Product:
    node: str
    weight: str
    activation: str
    """The name of the other factor, in this graph."""

    @property
    def block(self) -> str:
        return block_of(self.weight)


def block_of(weight: str) -> str:
    """The part of the model that a weight belongs to: `layers.3`, `scorer`, `connector`, `lm_head`, ..."""
    if weight.startswith(_SCORER):
        return SCORER
    if found := _LAYER.search(weight):
        return f"layers.{found[1]}"
    if weight.startswith("multi_modal_projector."):
        return "connector"
    return HEAD if weight.startswith(HEAD) else weight.split(".")[-2]


def in_order(block: str) -> tuple[str, int]:
    """A key by which `layers.10` comes after `layers.9`."""
    name, _, number = block.partition(".")
    return name, int(number or 0)


def products_of(model: ModelProto) -> list[Product]:
    """All `Gemm` nodes whose second factor is a weight, in the order of the graph."""
    weights = {one.name for one in model.graph.initializer}
    return [
        Product(node.name, node.input[1], node.input[0])
        for node in model.graph.node
        if node.op_type == "Gemm" and node.input[1] in weights
    ]


def blocks_of(model: ModelProto) -> frozenset[str]:
    return frozenset(product.block for product in products_of(model))


def biased_layer(model: ModelProto) -> str | None:
    """The block whose attention is biased by the scores: the first layer with a product that depends on the scorer.

    None for a graph without a scorer.
    """
    made_by_scores: set[str] = set()
    layers: set[int] = set()
    for node in model.graph.node:
        weight = node.input[1] if node.op_type == "Gemm" else ""
        is_scorer = weight.startswith(_SCORER)
        if is_scorer or made_by_scores.intersection(node.input):
            made_by_scores.update(node.output)
            if (found := _LAYER.search(weight)) and not is_scorer:
                layers.add(int(found[1]))
    return f"layers.{min(layers)}" if layers else None


def split_residuals(model: ModelProto) -> None:
    """Takes sums with an activation out of products, which integer products cannot hold."""
    weights = {one.name for one in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type == "Gemm" and len(node.input) == 3 and node.input[2] not in weights:
            sum_name, residual = node.output[0], node.input[2]
            node.output[0] = f"{sum_name}.product"
            del node.input[2]
            nodes.append(helper.make_node("Add", [node.output[0], residual], [sum_name], f"{node.name}.residual"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
