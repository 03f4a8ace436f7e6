"""W8A8 in floating point: products in FP8 (E4M3), written as QuantizeLinear and DequantizeLinear around them.

For Ada, Hopper and Blackwell, through TensorRT. Weights have one scale an output channel, activations one in all; the
largest value becomes the largest of the format, as NVIDIA's tools have it. ONNX Runtime's quantizer takes scales from
the standard deviation instead, which cuts off what is beyond four and a half of them, so the nodes are written here.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stts_calib.quantize.products import products_of, split_residuals
from stts_calib.quantize.ranges import Ranges

HIGHEST = 448.0
"""The largest value of E4M3."""
TYPE = helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN)
_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)


def quantize_products_to_float8(model: ModelProto, ranges: Ranges, blocks: AbstractSet[str]) -> ModelProto:
    """The graph with the products of these blocks in FP8; `model` is used up. Products in bf16 stay."""
    split_residuals(model)
    weights = {one.name: one for one in model.graph.initializer}
    types = {name: one.data_type for name, one in weights.items()}
    chosen = {
        product.node: product
        for product in products_of(model)
        if product.block in blocks and types[product.weight] in _TYPES
    }
    extremes = ranges.by_activation(chosen.values())
    nodes: list[NodeProto] = []
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        if (product := chosen.get(node.name)) is not None:
            if product.activation not in rounded:
                highest = max(map(abs, extremes[product.activation]))
                nodes += _round_trip(model.graph, product.activation, highest, types[product.weight])
                rounded[product.activation] = nodes[-1].output[0]
            if product.weight not in rounded:
                nodes.append(_widened(model.graph, weights[product.weight], _rows_of(node)))
                rounded[product.weight] = nodes[-1].output[0]
            node.input[0], node.input[1] = rounded[product.activation], rounded[product.weight]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _round_trip(graph: GraphProto, activation: str, highest: float, scale_type: int) -> list[NodeProto]:
    """Into FP8 and back."""
    scale, zero = f"{activation}.scale", f"{activation}.zero"
    graph.initializer.append(numpy_helper.from_array(_scales(np.array(highest), scale_type), scale))
    graph.initializer.append(numpy_helper.from_array(np.zeros((), TYPE), zero))
    narrow, back = f"{activation}.float8", f"{activation}.rounded"
    return [
        helper.make_node("QuantizeLinear", [activation, scale, zero], [narrow], f"{activation}.quantize"),
        helper.make_node("DequantizeLinear", [narrow, scale, zero], [back], f"{activation}.dequantize"),
    ]


def _widened(graph: GraphProto, weight: TensorProto, rows: int) -> NodeProto:
    """The weight goes into FP8; the node makes it wide again. `rows` is the dimension of the output channels."""
    values = numpy_helper.to_array(weight).astype(np.float32)
    scales = _scales(np.abs(values).max(axis=1 - rows), weight.data_type)
    narrow = (values / np.expand_dims(scales.astype(np.float32), 1 - rows)).clip(-HIGHEST, HIGHEST).astype(TYPE)
    name = weight.name
    weight.CopyFrom(numpy_helper.from_array(narrow, f"{name}.float8"))
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(scales.shape, TYPE), f"{name}.zero"))
    inputs = [f"{name}.float8", f"{name}.scale", f"{name}.zero"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}.rounded"], f"{name}.dequantize", axis=rows)


def _scales(highest: NDArray[Any], scale_type: int) -> NDArray[Any]:
    """Scales in the graph's own type. A channel of zeros gets a scale, too."""
    dtype = helper.tensor_dtype_to_np_dtype(scale_type)
    return np.where(highest > 0, highest / HIGHEST, 1.0).astype(dtype)


def _rows_of(node: NodeProto) -> int:
    """The dimension of a `Gemm`'s weight that becomes its columns."""
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if transposed else 1
