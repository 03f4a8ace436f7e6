"""The weights of quantized graphs, once in a safetensors file that all of them share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, external_data_helper, numpy_helper

from stts_runtime.bundle.weight_layout import Stored, lay_out, read_layout
from stts_runtime.errors import SttsError

_HALF_BYTES = (TensorProto.INT4, TensorProto.UINT4)
"""Types that numpy does not have: the file calls them bytes, and the graph knows better."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def weight_names(graph: Path) -> frozenset[str]:
    """Initializers that are outside of the graph's own file."""
    model = onnx.load(graph, load_external_data=False)
    return frozenset(one.name for one in model.graph.initializer if external_data_helper.uses_external_data(one))


def stored_weights(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The tensors of a safetensors file, one at a time."""
    layout, begin = read_layout(path)
    for name, (stored, first, _) in layout.items():
        dtype = _DTYPES[stored.dtype]
        values = np.fromfile(path, dtype, stored.size_bytes // dtype.itemsize, offset=begin + first)
        yield name, values.reshape(stored.shape)


class WeightFile:
    """Collects what is the same in several graphs, and is written once."""

    def __init__(self) -> None:
        self._tensors: dict[str, NDArray[Any]] = {}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Raises `SttsError` if there are other values under the name."""
        if not np.array_equal(self._tensors.setdefault(name, values), values):
            raise SttsError(f"{name} differs between two graphs of one bundle")

    def take(self, model: ModelProto, sources: Iterable[str]) -> None:
        """Takes out the initializers that come from `sources`, by whose names theirs begin."""
        for tensor in _of(model, sources):
            self.add(tensor.name, _values(tensor))
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL

    def write(self, path: Path) -> None:
        stored = {
            name: Stored(_NAMES[values.dtype], values.itemsize, values.shape) for name, values in self._tensors.items()
        }
        beginning, names = lay_out(stored)
        with path.open("wb") as stream:
            stream.write(beginning)
            for name in names:
                stream.write(np.ascontiguousarray(self._tensors[name]).view(np.uint8).data)

    @staticmethod
    def refer(model: ModelProto, path: Path) -> None:
        """Says of the initializers that were taken out where they are in the file, which is written."""
        layout, begin = read_layout(path)
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                _, first, last = layout[tensor.name]
                place = {"location": path.name, "offset": str(begin + first), "length": str(last - first)}
                del tensor.external_data[:]
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=value)


def _of(model: ModelProto, sources: Iterable[str]) -> list[TensorProto]:
    wanted = tuple(sources)
    found = [one for one in model.graph.initializer if one.name.startswith(wanted)]
    for tensor in found:
        # The library leaves some values in typed fields.
        if not tensor.raw_data and not external_data_helper.uses_external_data(tensor):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return found


def _values(tensor: TensorProto) -> NDArray[Any]:
    if tensor.data_type in _HALF_BYTES:
        return np.frombuffer(tensor.raw_data, np.uint8)
    return numpy_helper.to_array(tensor)
