"""The weights of a safetensors file in device memory: one copy, whatever number of graphs takes them."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.bundle.contract import JOINED_BY
from stts_runtime.bundle.weight_layout import read_layout
from stts_runtime.engines.cuda_memory import DeviceArray, Stream
from stts_runtime.errors import BundleError

_CHUNK_BYTES = 1 << 26
_TYPES: dict[str, np.dtype[Any] | None] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": None,
    "F8_E4M3": None,
    "U8": np.dtype(np.uint8),
}
_loaded: weakref.WeakValueDictionary[tuple[Path, int], DeviceWeights] = weakref.WeakValueDictionary()


class Weights(Mapping[str, DeviceArray]):
    """Weights in device memory by name. Names joined by "+" are weights one below the other in that memory."""

    def __init__(self, arrays: Mapping[str, DeviceArray]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> DeviceArray:
        parts = [self._arrays[part] for part in name.split(JOINED_BY)]
        first, end = parts[0], parts[0].address
        for part in parts:
            alike = (part.shape[1:], part.item_bytes, part.dtype) == (first.shape[1:], first.item_bytes, first.dtype)
            if part.address != end or not alike:
                raise KeyError(name)
            end += part.size_bytes
        if len(parts) == 1:
            return first
        return replace(first.view(), shape=(sum(part.shape[0] for part in parts), *first.shape[1:]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.partition(JOINED_BY)[0] in self._arrays


class DeviceWeights(Weights):
    """A file's weights, in one block of memory that lives as long as they, in the order of the file."""

    def __init__(self, path: Path, stream: Stream) -> None:
        """Raises `BundleError` for a file that is not as the format has it."""
        arrays, begin = stored_arrays(path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            block = stream.zeros((len(content) - begin,), 1, np.dtype(np.uint8))
            for offset in range(begin, len(content), _CHUNK_BYTES):
                # A copy of it, since the mapping must have no views when it is closed.
                values = np.frombuffer(content, np.uint8, min(_CHUNK_BYTES, len(content) - offset), offset).copy()
                stream.upload(replace(block.view(), address=block.address + offset - begin, shape=values.shape), values)
        placed = {name: replace(one, address=block.address + one.address, owner=block) for name, one in arrays.items()}
        super().__init__(placed)
        self.size_bytes = block.size_bytes


def device_weights(path: Path, stream: Stream) -> DeviceWeights:
    """The file's weights, loaded unless somebody holds them already."""
    key = path.resolve(), id(stream)
    weights = _loaded.get(key)
    if weights is None:
        weights = _loaded[key] = DeviceWeights(path, stream)
    return weights


def stored_arrays(path: Path) -> tuple[dict[str, DeviceArray], int]:
    """Arrays whose addresses are offsets into the data, and where in the file the data begins."""
    layout, begin = read_layout(path)
    arrays = {}
    for name, (stored, first, _) in layout.items():
        if stored.dtype not in _TYPES:
            raise BundleError(f"{path} is damaged: {name} is {stored.dtype}, which no graph for CUDA takes")
        arrays[name] = DeviceArray(first, stored.shape, stored.item_bytes, _TYPES[stored.dtype])
    return arrays, begin
