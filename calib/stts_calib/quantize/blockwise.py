"""Weights alone in 4 or 8 bits, with one scale for every few values of a row: for language models, whose single tokens
wait for weights and not for arithmetic.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Literal

from onnx import ModelProto
from onnxruntime.quantization import QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel

from stts_calib.quantize.products import block_of
from stts_calib.quantize.quiet import quiet
from stts_runtime.bundle.manifest import Format

BLOCK = 32
"""Values of a row that share a scale."""
BITS: dict[Format, Literal[4, 8]] = {"int4": 4, "int8": 8}
"""Of a weight."""


def quantize_weights(model: ModelProto, bits: Literal[4, 8], blocks: AbstractSet[str]) -> ModelProto:
    """The graph with the weights of these blocks in this many bits; `model` is used up.

    4 bits are written as DequantizeLinear by blocks in front of a product, the standard form. For 8 bits the library
    writes ONNX Runtime's own `MatMulNBits`.
    """
    left = as_products(model, blocks)
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK,
        is_symmetric=True,
        quant_format=QuantFormat.QDQ if bits == 4 else QuantFormat.QOperator,
        bits=bits,
    )
    with quiet():
        quantizer = MatMulNBitsQuantizer(model, nodes_to_exclude=left, algo_config=config)
        quantizer.process()
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    return quantized


def as_products(model: ModelProto, blocks: AbstractSet[str]) -> list[str]:
    """Writes `Gemm` as `MatMul`, as the libraries want it, in place; the names of those outside of these blocks."""
    ONNXModel(model).replace_gemm_with_matmul()
    _forget_shapes_of_weights(model)
    weights = {one.name for one in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and block_of(node.input[1]) not in blocks
    ]


def _forget_shapes_of_weights(model: ModelProto) -> None:
    """Removes the shapes that weights had before they were transposed."""
    weights = {one.name for one in model.graph.initializer}
    kept = [one for one in model.graph.value_info if one.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
