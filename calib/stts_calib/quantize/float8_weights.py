"""Weights alone in FP8 (E4M3), with a float32 scale for every 128 values of a row: what ONNX Runtime's
`MatMulBlockQuantizedFp8Weight` and the decode kernels read. The largest value of a block becomes the largest of FP8.

CPUs have no such product, so their graphs make the weights wide again, by the standard DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stts_calib.quantize.float8 import HIGHEST, TYPE
from stts_calib.quantize.products import products_of

BLOCK = 128
"""Values of a row that share a scale."""


def float8_blocks(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """A weight (rows, columns) -> as many E4M3 values, and scales (rows, blocks) float32; the last block may be short.

    A block of zeros, or of values too small for their scale to be a float32, becomes zeros of scale 1.
    """
    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    wide = np.zeros((rows, blocks * BLOCK), np.float32)
    wide[:, :columns] = weight
    wide = wide.reshape(rows, blocks, BLOCK)
    scales = np.abs(wide).max(axis=2) / np.float32(HIGHEST)
    scales = np.where(scales > 0, scales, np.float32(1))
    values = (wide / scales[..., None]).clip(-HIGHEST, HIGHEST).astype(TYPE)
    return np.ascontiguousarray(values.reshape(rows, -1)[:, :columns]), scales


def quantize_weights_to_float8(model: ModelProto, blocks: AbstractSet[str]) -> ModelProto:
    """The graph with the weights (rows, columns) of these blocks in FP8 and their products as they were; `model` is
    used up.
    """
    chosen = {product.node: product.weight for product in products_of(model) if product.block in blocks}
    weights = {one.name: one for one in model.graph.initializer if one.name in chosen.values()}
    for weight in weights.values():
        model.graph.initializer.remove(weight)
    nodes: list[NodeProto] = []
    widened: dict[str, str] = {}
    for node in model.graph.node:
        if (name := chosen.get(node.name)) is not None:
            if name not in widened:
                nodes.append(_widened(model.graph, weights[name]))
                widened[name] = nodes[-1].output[0]
            node.input[1] = widened[name]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _widened(graph: GraphProto, weight: TensorProto) -> NodeProto:
    """Adds the weight in FP8; the node makes it wide again."""
    name = weight.name
    stored = [f"{name}.fp8", f"{name}.fp8.scales"]
    for one, content in zip(stored, float8_blocks(numpy_helper.to_array(weight)), strict=True):
        graph.initializer.append(numpy_helper.from_array(content, one))
    return helper.make_node(
        "DequantizeLinear", stored, [f"{name}.rounded"], f"{name}.dequantize", axis=1, block_size=BLOCK
    )
