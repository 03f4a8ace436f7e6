"""Weights alone in 4 or 8 bits, in graphs that take their weights as inputs: those of ONNX Runtime's CUDA provider.

The graph is rewritten without looking at a weight; what the weights become is made one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnxruntime.quantization import QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

from stts_calib.quantize.blockwise import BLOCK
from stts_calib.quantize.products import HEAD, block_of
from stts_runtime.bundle.contract import JOINED_BY

_DOMAIN = "com.microsoft"
_BYTE_BITS = 8


def quantize_inputs(model: ModelProto, bits: Literal[4, 8]) -> frozenset[str]:
    """Replaces products with weights, the head's aside, by `MatMulNBits`, in place; the names of these weights.

    Products of joined weights stay joined: blocks lie along a row, so that joined rows are joined blocks.
    """
    inputs = {one.name: one for one in model.graph.input}
    quantized: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) != 2 or node.input[1] not in inputs:
            continue
        weight = node.input[1]
        if block_of(weight.partition(JOINED_BY)[0]) == HEAD:
            continue
        rows, columns = (size.dim_value for size in inputs[weight].type.tensor_type.shape.dim)
        if weight not in quantized:
            _add_inputs(model.graph, weight, rows, columns, bits, inputs[weight].type.tensor_type.elem_type)
        quantized.add(weight)
        node.CopyFrom(_product(node, rows, columns, bits))
    for name in quantized:
        model.graph.input.remove(inputs[name])
    if quantized and _DOMAIN not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return frozenset(part for name in quantized for part in name.split(JOINED_BY))


def quantized_weight(name: str, weight: NDArray[np.float16], bits: Literal[4, 8]) -> Iterator[tuple[str, NDArray[Any]]]:
    """What a weight (rows, columns) becomes: blocks of a row (rows, blocks, bytes) uint8, and a scale for each."""
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, quant_format=QuantFormat.QOperator, bits=bits
    )
    packed, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(
        np.ascontiguousarray(weight.astype(np.float32).T)
    )
    of_blocks, of_scales = packed_names(name, bits)
    yield of_blocks, packed
    yield of_scales, scales.reshape(-1).astype(weight.dtype)


def packed_names(weight: str, bits: int) -> tuple[str, str]:
    """Names of a weight's blocks and of their scales; joined for joined weights."""
    parts = [f"{part}.int{bits}" for part in weight.split(JOINED_BY)]
    return JOINED_BY.join(parts), JOINED_BY.join(f"{part}.scales" for part in parts)


def packed_shape(rows: int, columns: int, bits: int) -> tuple[int, int, int]:
    """Shape of a weight's blocks, in bytes."""
    return rows, -(-columns // BLOCK), BLOCK * bits // _BYTE_BITS


def _add_inputs(graph: GraphProto, weight: str, rows: int, columns: int, bits: int, scale_type: int) -> None:
    shape = packed_shape(rows, columns, bits)
    values, scales = packed_names(weight, bits)
    graph.input.append(helper.make_tensor_value_info(values, TensorProto.UINT8, shape))
    graph.input.append(helper.make_tensor_value_info(scales, scale_type, [shape[0] * shape[1]]))


def _product(node: NodeProto, rows: int, columns: int, bits: int) -> NodeProto:
    return helper.make_node(
        "MatMulNBits",
        [node.input[0], *packed_names(node.input[1], bits)],
        list(node.output),
        node.name,
        domain=_DOMAIN,
        K=columns,
        N=rows,
        bits=bits,
        block_size=BLOCK,
    )
