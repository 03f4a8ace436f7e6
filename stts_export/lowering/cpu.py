"""Lowerings for ONNX Runtime's CPU provider: the standard table in float32, with weights in float32 or in 16 bits."""

from dataclasses import replace

from stts_export.lowering import standard
from stts_export.lowering.lowering import Lowering
from stts_runtime.bundle.contract import HALF_WEIGHTS, WHOLE_WEIGHTS

CPU = Lowering(
    name=WHOLE_WEIGHTS,
    opset_version=standard.OPSET_VERSION,
    table=standard.TABLE,
    backend="onnxruntime-cpu",
    # The first that runs opset 24 on the CPU, tried one by one: 1.24 loads the vision graphs and lacks `TensorScatter`.
    minimum_backend_version="1.25",
)

# For models whose float32 does not fit the machine: half of the disk and memory, which the other targets' graphs share,
# for the time that widening every weight takes.
CPU_16BIT = replace(CPU, name=HALF_WEIGHTS, half_weights=True)
