"""Lowering `cpu`: the standard table in float32, for ONNX Runtime's CPU provider."""

from stts_export.lowering import standard
from stts_export.lowering.lowering import Lowering

CPU = Lowering(
    name="cpu",
    opset_version=standard.OPSET_VERSION,
    table=standard.TABLE,
    backend="onnxruntime-cpu",
    # The first that runs opset 24 on the CPU, tried one by one: 1.24 loads the vision graphs and lacks `TensorScatter`.
    minimum_backend_version="1.25",
)
