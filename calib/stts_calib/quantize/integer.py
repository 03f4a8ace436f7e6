"""W8A8: products in integers of 8 bits, written as QuantizeLinear and DequantizeLinear around them, the standard form.

Weights are symmetric, one scale an output channel. ONNX Runtime's quantizer writes the nodes.

On x86 without VNNI, ONNX Runtime multiplies unsigned activations by signed weights with `vpmaddubsw`, which adds pairs
of products in 16 bits and saturates. Weights of 7 bits always fit, 255 x 64 x 2 = 32,640, so a bundle gives the same
numbers on every CPU. Unsigned 8-bit weights fit too, but their products are slower on CPUs with VNNI.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from stts_calib.quantize.products import Product, products_of, split_residuals
from stts_calib.quantize.quiet import quiet
from stts_calib.quantize.ranges import Ranges

_PRODUCT = "Gemm"
_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16)


def quantize_products(model: ModelProto, ranges: Ranges, blocks: AbstractSet[str]) -> ModelProto:
    """The graph with the products of these blocks in 8 bits; `model` is used up.

    In float32 graphs, which are the CPU's, activations are unsigned and biases integers, as x86's instructions for
    products of 8 bits want them, and weights have 7 bits. In fp16 graphs, which are TensorRT's, activations are signed
    and symmetric, and weights have 8 bits: TensorRT accumulates in 32. Products in bf16 stay: their values are those
    that fit nothing smaller.
    """
    split_residuals(model)
    types = {one.name: one.data_type for one in model.graph.initializer}
    chosen = [product for product in products_of(model) if product.block in blocks and types[product.weight] in _TYPES]
    if not chosen:
        return model
    signed = types[chosen[0].weight] == TensorProto.FLOAT16
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=not signed,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
        tensors_range=_by_activation(chosen, ranges, np.float16 if signed else np.float32),
        nodes_to_quantize=[product.node for product in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=[_PRODUCT],
        # Sums and what follows stay as they are: products give float.
        extra_options={
            "OpTypesToExcludeOutputQuantization": [_PRODUCT],
            "ActivationSymmetric": signed,
            "QuantizeBias": not signed,
        },
    )
    with quiet():
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    return quantized


def _by_activation(products: list[Product], ranges: Ranges, scale: type[np.floating[Any]]) -> TensorsData:
    """`scale` is the type of the scales, which has to be that of the graph."""
    data = {
        name: TensorData(lowest=np.array(low, scale), highest=np.array(high, scale))
        for name, (low, high) in ranges.by_activation(products).items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)
