"""The weights of a safetensors file in device memory: one copy, whatever number of graphs takes them.

Source of the layout: the safetensors format (header length, JSON header, plain little-endian tensors).
"""

from __future__ import annotations

import json
import mmap
import struct
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.engines.cuda_memory import DeviceArray, Stream
from stts_runtime.errors import BundleError

_ALIGNMENT = 256
_MAX_HEADER_BYTES = 1 << 26
_TYPES: dict[str, tuple[int, np.dtype[Any] | None]] = {
    "F32": (4, np.dtype(np.float32)),
    "F16": (2, np.dtype(np.float16)),
    "BF16": (2, None),
}
_loaded: weakref.WeakValueDictionary[tuple[Path, int], DeviceWeights] = weakref.WeakValueDictionary()


class DeviceWeights(Mapping[str, DeviceArray]):
    """A file's weights by name, all in one block of memory that lives as long as this."""

    def __init__(self, path: Path, stream: Stream) -> None:
        """Raises `BundleError` for a file that is not as the format has it."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            self._arrays, places, size = _placed(path, content)
            self._block = stream.zeros((size,), 1, np.dtype(np.uint8))
            for name, (begin, end) in places.items():
                array = self._arrays[name] = self._moved(self._arrays[name])
                # A copy per weight, so that no more than one is held beside the file.
                values = np.frombuffer(content, dtype=np.uint8, count=end - begin, offset=begin).copy()
                stream.upload(DeviceArray(array.address, values.shape, 1, values.dtype), values)

    def _moved(self, array: DeviceArray) -> DeviceArray:
        return DeviceArray(self._block.address + array.address, array.shape, array.item_bytes, array.dtype)

    def __getitem__(self, name: str) -> DeviceArray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def size_bytes(self) -> int:
        return self._block.size_bytes


def device_weights(path: Path, stream: Stream) -> DeviceWeights:
    """The file's weights, loaded unless somebody holds them already."""
    key = path.resolve(), id(stream)
    weights = _loaded.get(key)
    if weights is None:
        weights = _loaded[key] = DeviceWeights(path, stream)
    return weights


def _placed(path: Path, content: mmap.mmap) -> tuple[dict[str, DeviceArray], dict[str, tuple[int, int]], int]:
    """Arrays at their offsets in a block, where each lies in the file, and the size of the block."""
    arrays, places, size = {}, {}, 0
    try:
        (header_bytes,) = struct.unpack_from("<Q", content)
        if header_bytes > _MAX_HEADER_BYTES:
            raise ValueError("its header is too long")
        header = json.loads(content[8 : 8 + header_bytes])
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            item_bytes, dtype = _TYPES[entry["dtype"]]
            begin, end = (8 + header_bytes + int(offset) for offset in entry["data_offsets"])
            array = DeviceArray(size, tuple(map(int, entry["shape"])), item_bytes, dtype)
            if not 8 <= begin <= end <= len(content) or array.size_bytes != end - begin:
                raise ValueError(f"{name} does not lie in it")
            arrays[name], places[name] = array, (begin, end)
            size += -(-(end - begin) // _ALIGNMENT) * _ALIGNMENT
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise BundleError(f"{path} is damaged: it is no safetensors file ({error})") from None
    return arrays, places, size
