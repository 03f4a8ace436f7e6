"""Where weights are in a safetensors file, so that engines can use them where they lie.

Source of the format: safetensors (header length, JSON header, plain little-endian tensors).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stts_runtime.errors import BundleError
from stts_runtime.text import shortened, visible

ITEM_BYTES = {"F32": 4, "I32": 4, "I64": 8, "F16": 2, "BF16": 2, "F8_E4M3": 1, "I8": 1, "U8": 1}
"""Item sizes of the types that bundles hold."""
_MAX_HEADER_BYTES = 1 << 26
_LONGEST_REASON = 200
_ALIGNED = 16
"""Bytes; what fast products ask of their matrices."""
_HEADER_ALIGNED = 8
"""The format aligns the header's length to this."""


class Stored(NamedTuple):
    """A tensor as it is stored."""

    dtype: str
    """The format's name: F32, F16, BF16, U8, ..."""
    item_bytes: int
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


class Placed(NamedTuple):
    """A tensor and the bytes that it takes, counted from where the data begins."""

    stored: Stored
    begin: int
    end: int


def read_layout(path: Path) -> tuple[dict[str, Placed], int]:
    """The tensors of a file by name, and where in it the data begins.

    Raises `BundleError` if the file is not as the format has it.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            data = 8 + header_bytes
            if not 0 < header_bytes <= min(_MAX_HEADER_BYTES, size - 8):
                raise ValueError("its header is too long")
            header = json.loads(file.read(header_bytes))
        layout = {name: _placed(name, entry, size - data) for name, entry in header.items() if name != "__metadata__"}
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RecursionError, struct.error) as error:
        said = shortened(visible(str(error)), _LONGEST_REASON)
        raise BundleError(f"{path} is damaged: it is not a safetensors file ({said})") from None
    return layout, data


def _placed(name: str, entry: Mapping[str, Any], data_bytes: int) -> Placed:
    dtype, shape = entry["dtype"], tuple(map(int, entry["shape"]))
    stored = Stored(dtype, ITEM_BYTES[dtype], shape)
    begin, end = map(int, entry["data_offsets"])
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= data_bytes or stored.size_bytes != end - begin:
        raise ValueError(f"{name} does not lie in it")
    return Placed(stored, begin, end)


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
