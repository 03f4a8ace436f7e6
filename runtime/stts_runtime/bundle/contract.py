"""What the build and every engine agree on, by name: engines, lowerings, parts, tensors and joined weights.

These words stand in bundles, so they change with the schema alone. How weights are in their file is in
`weight_layout.py`, which has the reader and the writer.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

EngineName = Literal["cpu", "cuda", "tensorrt", "tensorrt-rtx"]
"""What runs a bundle; `engines/backends.py` has the code of each."""

FlavourName = Literal["tensorrt", "tensorrt-rtx"]
"""Engines that are compiled on the device, or for it."""
FLAVOURS: tuple[FlavourName, ...] = get_args(FlavourName)

WHOLE_WEIGHTS: Final = "cpu"
HALF_WEIGHTS: Final = "cpu-16bit"
"""The lowerings for ONNX Runtime's CPU provider: weights in float32, or in 16 bits and widened whenever they are used.
"""
CUDA: Final = "cuda"
"""The lowering for ONNX Runtime's CUDA provider."""

VISION: Final = "vision"
LANGUAGE: Final = "language"
PREFILL: Final = "prefill"


def vision_part(variant: str) -> str:
    """The name of a vision variant as a part of the bundle, as in `vision.clip-t8-k0.5`."""
    return f"{VISION}.{variant}"


def batch_part(part: str, size: int) -> str:
    """The name of the graphs of a part for this many rows at once; 1 is the part itself."""
    return part if size == 1 else f"{part}.x{size}"


def part_and_size(name: str) -> tuple[str, int]:
    """What `batch_part` named."""
    part, _, size = name.rpartition(".x")
    return (part, int(size)) if part and size.isdigit() else (name, 1)


def variant_of(part: str) -> str:
    """The variant that `vision_part` named."""
    return part.removeprefix(f"{VISION}.")


def vision_inputs(*, is_control: bool) -> list[str]:
    """Inputs of a graph for windows; a control is told what to keep."""
    return ["frames", "kept_groups"] if is_control else ["frames"]


def vision_outputs(*, is_pruned: bool, is_control: bool) -> list[str]:
    """Outputs of a graph for windows; with keep 1 nothing is scored."""
    if not is_pruned:
        return ["visual_tokens"]
    return ["visual_tokens", "scores"] if is_control else ["visual_tokens", "scores", "kept_groups"]


FRAME_INPUTS = ["frames", "previous"]
FRAME_OUTPUTS = ["visual_tokens", "scores", "kept_groups", "pooled", "change"]
"""Outputs of a graph for one frame of a stream."""

INDICES = ("slots", "start", "last", "visual_rows")
"""Inputs of language graphs that follow from the number of tokens; which of them a graph takes depends on its lowering.

TensorRT 8.6 refuses comparisons of shapes, and its running sums are loops of as many steps as there are tokens; on the
host both cost microseconds.
"""


def indices_of(token_ids: NDArray[np.int64], start: int, image_patch_id: int) -> dict[str, NDArray[np.int64]]:
    """All of them by name, for tokens (L,), of which the first goes to slot `start`.

    `slots` (L,) are the slots of all tokens, `start` and `last` (1,) the first and the last of them, and `visual_rows`
    (L,) the rows of the visual tokens that are added: the n-th image patch takes the n-th, other tokens name row 0.
    """
    slots = np.arange(start, start + len(token_ids), dtype=np.int64)
    is_patch = token_ids == image_patch_id
    rows = np.where(is_patch, np.cumsum(is_patch) - 1, 0)
    return {"slots": slots, "start": slots[:1], "last": slots[-1:], "visual_rows": rows}


def cache_names(layers: int) -> list[str]:
    """Names of the cache inputs of the language graph; the outputs have `new_` before them."""
    return [f"{kind}.{layer}" for layer in range(layers) for kind in ("key", "value")]


JOINED_BY: Final = "+"
"""Between the names of weights that lie one below the other and are one input of a graph for CUDA."""
