"""Where weights lie in a safetensors file, so that engines can use them where they lie.

Source of the format: safetensors (header length, JSON header, plain little-endian tensors).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

_ALIGNED = 16
"""Bytes; what fast products ask of their matrices."""
_HEADER_ALIGNED = 8
"""Of the header's length, as the format wants it."""


class Stored(NamedTuple):
    """A tensor as it is stored."""

    dtype: str
    """The format's name: F32, F16, BF16, U8, ..."""
    item_bytes: int
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


def lay_out(tensors: Mapping[str, Stored], metadata: Mapping[str, str] | None = None) -> tuple[bytes, list[str]]:
    """The beginning of the file, up to the first tensor, and the names of the tensors in their order.

    What is a multiple of 16 bytes comes first, so that all of that is aligned, and projections that an engine may join
    follow each other.
    """
    names = sorted(tensors, key=lambda name: _place(name, tensors[name]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].size_bytes
        header[name] = {
            "dtype": tensors[name].dtype,
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % _HEADER_ALIGNED)
    return struct.pack("<Q", len(described)) + described, names


def _place(name: str, tensor: Stored) -> tuple[int, bool, str]:
    uneven = tensor.size_bytes % _ALIGNED != 0
    for order, part in enumerate(("q_proj", "k_proj", "v_proj")):
        name = name.replace(part, f"qkv_proj.{order}")
    return -tensor.item_bytes, uneven, name
