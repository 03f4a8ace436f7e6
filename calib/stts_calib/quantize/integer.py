"""W8A8: products in integers of 8 bits, written as QuantizeLinear and DequantizeLinear around them, the standard form.

Weights are symmetric, one scale an output channel. ONNX Runtime's quantizer writes the nodes.
"""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from stts_calib.quantize.products import Product, products_of, split_residuals
from stts_calib.quantize.ranges import Ranges

_PRODUCT = "Gemm"


def quantize_products(model: ModelProto, ranges: Ranges, blocks: AbstractSet[str]) -> ModelProto:
    """The graph with the products of these blocks in 8 bits; `model` is used up.

    Activations are unsigned, as x86's instructions for products of 8 bits want them.
    """
    split_residuals(model)
    chosen = [product for product in products_of(model) if product.block in blocks]
    if not chosen:
        return model
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=_by_activation(chosen, ranges),
        nodes_to_quantize=[product.node for product in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=[_PRODUCT],
        # Sums and what follows stay as they are: products give float.
        extra_options={"OpTypesToExcludeOutputQuantization": [_PRODUCT]},
    )
    # It recommends further passes, which these graphs have behind them.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantizer.quantize_model()
    finally:
        logging.disable(before)
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    return quantized


def _by_activation(products: list[Product], ranges: Ranges) -> TensorsData:
    found: dict[str, tuple[float, float]] = {}
    for product in products:
        low, high = ranges.of[product.weight]
        before = found.get(product.activation, (low, high))
        found[product.activation] = min(low, before[0]), max(high, before[1])
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in found.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)
