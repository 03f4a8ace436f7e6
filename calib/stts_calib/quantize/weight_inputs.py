"""Weights alone in 4 or 8 bits or FP8, in graphs that take their weights as inputs: those of ONNX Runtime's CUDA
provider.

The graph is rewritten without looking at a weight; what the weights become is made one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnxruntime.quantization import QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

from stts_calib.quantize.blockwise import BITS, BLOCK
from stts_calib.quantize.float8_weights import BLOCK as FLOAT8_BLOCK
from stts_calib.quantize.float8_weights import float8_blocks
from stts_calib.quantize.products import HEAD, block_of
from stts_runtime.bundle.contract import JOINED_BY
from stts_runtime.bundle.manifest import Format

_DOMAIN = "com.microsoft"
_BYTE_BITS = 8


def quantize_inputs(model: ModelProto, form: Format) -> frozenset[str]:
    """Replaces products with weights, the head's aside, by ONNX Runtime's own, in place; the names of these weights.

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
            _add_inputs(model.graph, weight, rows, columns, form, inputs[weight].type.tensor_type.elem_type)
        quantized.add(weight)
        node.CopyFrom(_product(node, rows, columns, form))
    for name in quantized:
        model.graph.input.remove(inputs[name])
    if quantized and _DOMAIN not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return frozenset(part for name in quantized for part in name.split(JOINED_BY))


def quantized_weight(name: str, weight: NDArray[Any], form: Format) -> Iterator[tuple[str, NDArray[Any]]]:
    """What a weight (rows, columns) becomes: values and scales, in the shapes of `packed_shapes`."""
    values, scales = float8_blocks(weight) if form == "fp8" else _integer_blocks(weight, form)
    yield from zip(packed_names(name, form), (values, scales), strict=True)


def packed_names(weight: str, form: Format) -> tuple[str, str]:
    """Names of a weight's values and of their scales; joined for joined weights."""
    parts = [f"{part}.{form}" for part in weight.split(JOINED_BY)]
    return JOINED_BY.join(parts), JOINED_BY.join(f"{part}.scales" for part in parts)


def packed_shapes(rows: int, columns: int, form: Format) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of a weight's values and scales: E4M3 (rows, columns) and float32 (rows, blocks) of FP8; of integers, blocks
    (rows, blocks, bytes) uint8 and a scale for each, of the weight's own type.
    """
    if form == "fp8":
        return (rows, columns), (rows, -(-columns // FLOAT8_BLOCK))
    blocks = -(-columns // BLOCK)
    return (rows, blocks, BLOCK * BITS[form] // _BYTE_BITS), (rows * blocks,)


def _integer_blocks(weight: NDArray[np.float16], form: Format) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, quant_format=QuantFormat.QOperator, bits=BITS[form]
    )
    packed, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(
        np.ascontiguousarray(weight.astype(np.float32).T)
    )
    return packed, scales.reshape(-1).astype(weight.dtype)


def _add_inputs(graph: GraphProto, weight: str, rows: int, columns: int, form: Format, weight_type: int) -> None:
    float8 = (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT)
    types = float8 if form == "fp8" else (TensorProto.UINT8, weight_type)
    for name, kind, shape in zip(packed_names(weight, form), types, packed_shapes(rows, columns, form), strict=True):
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def _product(node: NodeProto, rows: int, columns: int, form: Format) -> NodeProto:
    inputs, outputs = [node.input[0], *packed_names(node.input[1], form)], list(node.output)
    if form == "fp8":
        operator = "MatMulBlockQuantizedFp8Weight"
        return helper.make_node(operator, inputs, outputs, node.name, domain=_DOMAIN, block_size=FLOAT8_BLOCK)
    return helper.make_node(
        "MatMulNBits",
        inputs,
        outputs,
        node.name,
        domain=_DOMAIN,
        K=columns,
        N=rows,
        bits=BITS[form],
        block_size=BLOCK,
    )
