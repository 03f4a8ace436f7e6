"""A decode step of our own: CUDA kernels that the wheel carries as PTX, launched through the driver.

It knows no bundle and no engine: addresses in, launches out. `kernels/` has the sources, a page each; NVRTC compiles
them where the wheel is made (scripts/compile_kernels.py), the driver where they run. `driver.py` loads and launches,
`layer.py` is a layer's kernels, `step.py` a whole step, `variants.py` which modules there are. Every sum has one
order, whatever runs first, so the same numbers give the same bits.

What a layer of Molmo2-4B moves for one sequence, and how long a copy of as many bytes takes an H100 at 2.88 TB/s: the
kernels are to be measured against the last three columns.

| kernel | what it reads | MB fp16 | fp8 | int4 | us fp16 | fp8 | int4 |
| --- | --- | --- | --- | --- | --- | --- | --- |
| qkv | 6144 x 2560, after a norm | 31.5 | 16.2 | 8.8 | 10.9 | 5.6 | 3.1 |
| attention | the cache, after 772 tokens (3052) | 3.2 (12.5) | | | 1.1 (4.3) | | |
| output | 2560 x 4096, added to the residual | 21.0 | 10.8 | 5.9 | 7.3 | 3.8 | 2.0 |
| gated | 2 x 9728 x 2560, after a norm, SwiGLU | 99.6 | 51.4 | 28.0 | 34.6 | 17.8 | 9.7 |
| down | 2560 x 9728, added to the residual | 49.8 | 25.7 | 14.0 | 17.3 | 8.9 | 4.9 |
| the layer | | 205.0 | 107.2 | 59.9 | 71.2 | 37.2 | 20.8 |

Up to eight sequences share a step; weights are read once for all of them.
"""

import os

from stts_runtime.errors import UserError

VARIABLE = "STTS_CUDA_DECODE"
KERNELS, ONNX_RUNTIME = "kernels", "onnxruntime"
"""What the environment variable may be set to. Without it the `cuda` engine runs single tokens by the kernels where it
can; where they are asked for by name, every reason for which they are not used is told.
"""


def wanted() -> tuple[bool, bool]:
    """Whether the kernels are wanted, and whether that was said. Raises `UserError` for a word that says neither."""
    word = os.environ.get(VARIABLE, "")
    if word not in ("", KERNELS, ONNX_RUNTIME):
        raise UserError(f"{VARIABLE} is {word!r}, and there is {KERNELS} and {ONNX_RUNTIME}")
    return word != ONNX_RUNTIME, word == KERNELS
