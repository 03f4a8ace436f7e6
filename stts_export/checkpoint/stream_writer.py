"""Writing safetensors files one weight at a time; the library's own writer takes all of them at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stts_export.errors import CheckpointError

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_ALIGNED = 16
"""Bytes; what fast products ask of their matrices."""
_ALIGNMENT = 8
"""Of the header's length, as the format wants it."""


def write_safetensors(
    path: Path, like: Mapping[str, Tensor], read: Callable[[str], Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes the weights that `read` gives by name, with shapes and dtypes as in `like`, which may hold placeholders.

    Engines use the data where it lies: what is a multiple of `_ALIGNED` bytes comes first, so that all of that is
    aligned, and projections that an engine may join follow each other.
    """
    ordered = sorted(like.items(), key=_place)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % _ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(described)) + described)
        for name, tensor in ordered:
            weight = read(name).to(tensor.dtype).contiguous()
            _check_fits(name, weight)
            stream.write(weight.flatten().view(torch.uint8).numpy().data)


def _place(named: tuple[str, Tensor]) -> tuple[int, bool, str]:
    name, tensor = named
    uneven = tensor.numel() * tensor.element_size() % _ALIGNED != 0
    for order, part in enumerate(("q_proj", "k_proj", "v_proj")):
        name = name.replace(part, f"qkv_proj.{order}")
    return -tensor.element_size(), uneven, name


def _check_fits(name: str, weight: Tensor) -> None:
    """Raises `CheckpointError` for a weight beyond the type that it is written in: float16 ends at 65,504."""
    if weight.numel() and not all(isfinite(extreme) for extreme in torch.aminmax(weight)):
        raise CheckpointError(f"weight {name} does not fit {_NAMES[weight.dtype]}; bf16 would hold it")
