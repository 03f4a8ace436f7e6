"""Ways to write the graphs down, and which of them each target needs.

Adding a target means adding a table here, not a branch in the model.
"""

from stts_export.lowering.cpu import CPU, CPU_16BIT
from stts_export.lowering.cuda import CUDA
from stts_export.lowering.decomposed import TENSORRT_10
from stts_export.lowering.lowering import Lowering
from stts_export.lowering.tensorrt import TENSORRT
from stts_export.lowering.tensorrt_8 import TENSORRT_8

LOWERINGS: dict[str, Lowering] = {
    lowering.name: lowering for lowering in (CPU, CPU_16BIT, CUDA, TENSORRT, TENSORRT_10, TENSORRT_8)
}

TARGETS: dict[str, tuple[str, ...]] = {
    "cpu": (CPU.name,),
    "cpu-16bit": (CPU_16BIT.name,),
    "cuda": (CUDA.name,),
    # The version on the device decides which of them is compiled; they share their weights.
    "tensorrt": (TENSORRT.name, TENSORRT_10.name, TENSORRT_8.name),
    "tensorrt-rtx": (TENSORRT.name,),
}
"""Names of lowerings by what a user asks for."""

__all__ = ["CPU", "LOWERINGS", "TARGETS", "Lowering"]
