"""Writing safetensors files one weight at a time; the library's own writer takes all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from stts_export.errors import CheckpointError
from stts_runtime.bundle.weight_layout import Stored, lay_out

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_safetensors(
    path: Path, like: Mapping[str, Tensor], read: Callable[[str], Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes the weights that `read` gives by name, with shapes and dtypes of `like`, which may hold placeholders."""
    stored = {
        name: Stored(_NAMES[tensor.dtype], tensor.element_size(), tuple(tensor.shape)) for name, tensor in like.items()
    }
    beginning, names = lay_out(stored, metadata)
    with path.open("wb") as stream:
        stream.write(beginning)
        for name in names:
            weight = read(name).to(like[name].dtype).contiguous()
            _check_fits(name, weight)
            stream.write(weight.flatten().view(torch.uint8).numpy().data)


def _check_fits(name: str, weight: Tensor) -> None:
    """Raises `CheckpointError` for a weight beyond the type that it is written in: float16 ends at 65,504."""
    if weight.numel() and not all(isfinite(extreme) for extreme in torch.aminmax(weight)):
        raise CheckpointError(f"weight {name} does not fit {_NAMES[weight.dtype]}; bf16 would hold it")
