"""One weight file for several graphs: a safetensors file that ONNX refers into by offset.

Safetensors keeps plain little-endian bytes after a JSON header, and ONNX external data is a file name, an offset and
a length, so the same file serves both: every graph shares it, and any tool can read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
from onnx import ModelProto, TensorProto
from torch import Tensor

from stts_export.errors import ExportError
from stts_export.graphs.casts import cast_where_used
from stts_export.graphs.derived import Derivation, DerivedTensor
from stts_export.graphs.join import join_products
from stts_runtime.bundle.contract import JOINED_BY
from stts_runtime.bundle.weight_layout import read_layout

_DTYPES = {"F32": ir.DataType.FLOAT, "F16": ir.DataType.FLOAT16, "BF16": ir.DataType.BFLOAT16}


def used_weights(models: Iterable[ir.Model], state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of `state` that some graph holds as `prefix` + name."""
    initializers = {name for model in models for name in model.graph.initializers}
    return {name: tensor for name, tensor in state.items() if prefix + name in initializers}


def derived_weights(models: Iterable[ir.Model], prefix: str) -> dict[str, Derivation]:
    """The derived weights of these graphs by name, without `prefix`."""
    return {
        name.removeprefix(prefix): value.const_value.derivation
        for model in models
        for name, value in model.graph.initializers.items()
        if isinstance(value.const_value, DerivedTensor)
    }


def refer_to_weight_file(model: ir.Model, path: Path, prefix: str) -> None:
    """Replaces the graph's own copies of the weights by references into the file, and drops `prefix` from names.

    A weight that is stored in another type than the graph computes in is cast where it is used.
    """
    layout, data = read_layout(path)
    for name, value in list(model.graph.initializers.items()):
        placed = layout.get(name.removeprefix(prefix))
        if placed is None or value.const_value is None or not name.startswith(prefix):
            continue
        dtype = _DTYPES[placed.stored.dtype]
        if dtype != value.const_value.dtype:
            cast_where_used(model, value, dtype)
        value.const_value = ir.ExternalTensor(
            path.name,
            offset=data + placed.begin,
            length=placed.end - placed.begin,
            dtype=dtype,
            shape=ir.Shape(placed.stored.shape),
            name=name.removeprefix(prefix),
            base_dir=path.parent,
        )
        value.name = name.removeprefix(prefix)


def take_weights_as_inputs(model: ir.Model, path: Path, prefix: str) -> None:
    """Turns the graph's weights into inputs that have the names, without `prefix`, which they have in the file, and
    joins products.

    Raises `ExportError` for a weight that the file has in another type.
    """
    layout, _ = read_layout(path)
    names = [
        name for name in model.graph.initializers if name.startswith(prefix) and name.removeprefix(prefix) in layout
    ]
    for name in names:
        stored, dtype = layout[name.removeprefix(prefix)].stored.dtype, model.graph.initializers[name].dtype
        if _DTYPES[stored] != dtype:
            raise ExportError(f"{name} is stored as {stored}, and the graph computes in {dtype}")
    take_as_inputs(model, names, prefix)


def take_as_inputs(model: ir.Model, names: Sequence[str], prefix: str) -> None:
    """The same for these initializers, whatever file they will be in."""
    for name in names:
        value = model.graph.initializers.pop(name)
        value.const_value = None
        value.name = name.removeprefix(prefix)
        model.graph.inputs.append(value)
    join_products(model)


def refer_from_inputs(model: ModelProto, path: Path) -> None:
    """Undoes `take_weights_as_inputs` in a loaded model, to run it outside a CUDA engine."""
    layout, data = read_layout(path)
    weights = [value for value in model.graph.input if value.name.partition(JOINED_BY)[0] in layout]
    for value in weights:
        parts = [layout[name] for name in value.name.split(JOINED_BY)]
        begin, end = parts[0].begin, parts[-1].end
        tensor = model.graph.initializer.add(name=value.name, data_location=TensorProto.EXTERNAL)
        tensor.data_type = value.type.tensor_type.elem_type
        tensor.dims.extend(size.dim_value for size in value.type.tensor_type.shape.dim)
        place = {"location": path.name, "offset": str(data + begin), "length": str(end - begin)}
        for key, content in place.items():
            tensor.external_data.add(key=key, value=content)
        model.graph.input.remove(value)
