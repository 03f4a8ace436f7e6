"""The weights of quantized graphs, once in a safetensors file that all of them refer to."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, external_data_helper, numpy_helper
from safetensors.numpy import save_file

from stts_runtime.errors import SttsError

_BYTES = (TensorProto.INT4, TensorProto.UINT4, TensorProto.BFLOAT16)
"""Types that numpy does not have: the file calls them bytes, and the graph knows better."""


def weight_names(graph: Path) -> frozenset[str]:
    """Initializers that lie outside of the graph's own file."""
    model = onnx.load(graph, load_external_data=False)
    return frozenset(one.name for one in model.graph.initializer if external_data_helper.uses_external_data(one))


class WeightFile:
    """Collects what is the same in several graphs, and is written once."""

    def __init__(self) -> None:
        self._tensors: dict[str, NDArray[Any]] = {}

    def take(self, model: ModelProto, sources: Iterable[str]) -> None:
        """Takes out the initializers that come from `sources`, by whose names theirs begin.

        Raises `SttsError` if another graph has other values under a name.
        """
        for tensor in _of(model, sources):
            values = _values(tensor)
            if not np.array_equal(self._tensors.setdefault(tensor.name, values), values):
                raise SttsError(f"{tensor.name} differs between two graphs of one bundle")
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL

    def write(self, path: Path) -> None:
        save_file(self._tensors, path)
        # The library writes it for its owner alone.
        path.chmod(0o644)

    @staticmethod
    def refer(model: ModelProto, path: Path) -> None:
        """Says of the initializers that were taken out where they lie in the file, which is written."""
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                begin, end = header[tensor.name]["data_offsets"]
                place = {"location": path.name, "offset": str(8 + size + begin), "length": str(end - begin)}
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
    if tensor.data_type in _BYTES:
        return np.frombuffer(tensor.raw_data, np.uint8)
    return numpy_helper.to_array(tensor)
