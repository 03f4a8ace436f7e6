"""One weight file for several graphs: a safetensors file that ONNX refers into by offset.

Safetensors keeps plain little-endian bytes behind a JSON header, and ONNX external data is a file name, an offset and
a length, so the same file serves both: every graph shares it, and any tool can read it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from stts_export.graphs.casts import cast_where_used

_DTYPES = {"F32": ir.DataType.FLOAT, "F16": ir.DataType.FLOAT16, "BF16": ir.DataType.BFLOAT16}


def used_weights(models: Iterable[ir.Model], state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of `state` that some graph holds as `prefix` + name."""
    initializers = {name for model in models for name in model.graph.initializers}
    return {name: tensor for name, tensor in state.items() if prefix + name in initializers}


def refer_to_weight_file(model: ir.Model, path: Path, prefix: str) -> None:
    """Replaces the graph's own copies of the weights by references into the file, and drops `prefix` from names.

    A weight that is stored in another type than the graph computes in is cast where it is used.
    """
    with path.open("rb") as stream:
        (header_bytes,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(header_bytes))
    for name, value in list(model.graph.initializers.items()):
        stored = header.get(name.removeprefix(prefix))
        if stored is None or value.const_value is None or not name.startswith(prefix):
            continue
        begin, end = stored["data_offsets"]
        dtype = _DTYPES[stored["dtype"]]
        if dtype != value.const_value.dtype:
            cast_where_used(model, value, dtype)
        value.const_value = ir.ExternalTensor(
            path.name,
            offset=8 + header_bytes + begin,
            length=end - begin,
            dtype=dtype,
            shape=ir.Shape(stored["shape"]),
            name=name.removeprefix(prefix),
            base_dir=path.parent,
        )
        value.name = name.removeprefix(prefix)
