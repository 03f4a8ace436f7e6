"""Weights that a graph computes from others, computed when the graph is written.

A lowering may want weights in another form than the checkpoint has them: three projections as one, more channels in
every head. TensorRT 8.6 takes such a product of constants for a weight and gets it wrong (`Gemm` over a `Concat` of
padded weights was 48 % off on an H200, and right with the same numbers as a constant). Views of a weight stay in the
graph; they would only double it in the file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common
from safetensors import safe_open
from torch import Tensor

from stts_export.checkpoint.lazy_weights import Read, placeholder
from stts_runtime.errors import BundleError

_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast"}

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Derivation:
    """How one weight is made of others."""

    model: onnx.ModelProto
    """Its inputs have the names of the weights in the graph, its one output is the derived weight."""

    @classmethod
    def from_text(cls, text: str) -> Derivation:
        """Raises `ValueError` if it is not what `text` gave."""
        try:
            return cls(onnx.ModelProto.FromString(base64.b64decode(text, validate=True)))
        except DecodeError as error:
            raise ValueError(str(error)) from None

    @property
    def text(self) -> str:
        """For the metadata of the weight file, by which the weight can be checked."""
        return base64.b64encode(self._content).decode()

    @property
    def sources(self) -> list[str]:
        return [one.name for one in self.model.graph.input]

    @property
    def like(self) -> Tensor:
        """A placeholder of its shape and type."""
        return placeholder(self.shape, _torch_type(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size.dim_value for size in self.model.graph.output[0].type.tensor_type.shape.dim)

    @property
    def dtype(self) -> ir.DataType:
        return ir.DataType(self.model.graph.output[0].type.tensor_type.elem_type)

    @property
    def digest(self) -> str:
        """The same for the same computation of the same weights, whatever graph it stands in."""
        return hashlib.sha256(self._content).hexdigest()[:8]

    @property
    def _content(self) -> bytes:
        content: bytes = self.model.SerializeToString(deterministic=True)
        return content

    def compute(self, source: Callable[[str], Array]) -> Array:
        """The weight, from its sources by name."""
        (weight,) = ReferenceEvaluator(self.model).run(None, {name: source(name) for name in self.sources})
        return np.ascontiguousarray(weight)

    def weight(self, read: Read, prefix: str) -> Tensor:
        """From the checkpoint's weights, whose names lack `prefix`, rounded to the types that the graph has them in."""
        types = {one.name: ir.DataType(one.type.tensor_type.elem_type) for one in self.model.graph.input}

        def source(name: str) -> Array:
            rounded: Array = read(name.removeprefix(prefix)).to(_torch_type(types[name])).numpy()
            return rounded

        return torch.from_numpy(self.compute(source))


def _torch_type(dtype: ir.DataType) -> torch.dtype:
    found: torch.dtype = getattr(torch, dtype.numpy().name)
    return found


def stored_derivations(path: Path) -> dict[str, Derivation]:
    """What a weight file says of its derived weights, by their names. Raises `BundleError` if it is damaged."""
    with safe_open(path, framework="numpy") as weights:
        metadata = weights.metadata() or {}
    try:
        return {name: Derivation.from_text(text) for name, text in metadata.items()}
    except ValueError as error:
        raise BundleError(f"{path} is damaged: its metadata describes no derived weights ({error})") from None


class DerivedTensor(ir.LazyTensor):
    """The value of a derived weight: computed from those of its sources when it is asked for."""

    def __init__(self, derivation: Derivation, initializers: Mapping[str, ir.Value]) -> None:
        self.derivation = derivation
        held = {name: initializers[name].const_value for name in derivation.sources}

        def source(name: str) -> Array:
            tensor = held[name]
            assert tensor is not None
            return tensor.numpy()

        super().__init__(
            lambda: ir.tensor(derivation.compute(source)), dtype=derivation.dtype, shape=ir.Shape(derivation.shape)
        )


def derive_weights(model: ir.Model, weights: Collection[str]) -> None:
    """In place: what the graph computes of `weights` and constants alone, views aside, becomes a weight of its own.

    Its name is that of the module whose weights it is made of, and a digest.
    """
    initializers = dict(model.graph.initializers)
    made: dict[ir.Value, ir.Node] = {}
    for node in model.graph:
        if node.inputs and all(value is None or value.name in initializers or value in made for value in node.inputs):
            made |= dict.fromkeys(node.outputs, node)
    used = [value for value in made if any(use.outputs[0] not in made for use, _ in value.uses())]
    # All before the first is replaced: one may be made of another.
    found = [(value, _derivation(value, made, weights, model.opset_imports[""])) for value in used]
    for value, derivation in found:
        if derivation is not None:
            _replace(model, value, derivation, initializers)
    common.RemoveUnusedNodesPass()(model)


def _derivation(
    value: ir.Value,
    made: Mapping[ir.Value, ir.Node],
    weights: Collection[str],
    opset: int,
) -> Derivation | None:
    """None for views of a weight, and for what is made of none."""
    nodes = list(dict.fromkeys(_ancestors(value, made)))
    taken = dict.fromkeys(one for node in nodes for one in node.inputs if one is not None and one not in made)
    sources = [one for one in taken if one.name in weights]
    if not sources or all(node.op_type in _VIEWS for node in nodes):
        return None
    # Names of this graph's own would make equal computations differ.
    names = {one: f"constant{number}" for number, one in enumerate(one for one in taken if one not in sources)}
    constants = [_constant(one, name) for one, name in names.items()]
    names |= {one: str(one.name) for one in sources}
    names |= {one: f"value{number}" for number, one in enumerate(one for node in nodes for one in node.outputs)}
    inputs, output = [_described(one, names) for one in sources], _described(value, names)
    graph = helper.make_graph(list(_nodes(nodes, names)), "derivation", inputs, [output], constants)
    return Derivation(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def _nodes(nodes: Sequence[ir.Node], names: Mapping[ir.Value, str]) -> Iterator[onnx.NodeProto]:
    """Without what the exporter notes in them, which names places of the build machine."""
    for node in nodes:
        inputs = ["" if one is None else names[one] for one in node.inputs]
        made = helper.make_node(node.op_type, inputs, [names[one] for one in node.outputs])
        made.attribute.extend(ir.to_proto(node).attribute)
        yield made


def _described(value: ir.Value, names: Mapping[ir.Value, str]) -> onnx.ValueInfoProto:
    assert value.dtype is not None
    assert value.shape is not None
    return helper.make_tensor_value_info(names[value], int(value.dtype), value.shape.numpy())


def _constant(value: ir.Value, name: str) -> onnx.TensorProto:
    assert value.const_value is not None
    return numpy_helper.from_array(value.const_value.numpy(), name)


def _ancestors(value: ir.Value, made: Mapping[ir.Value, ir.Node]) -> Iterator[ir.Node]:
    """The nodes that make a value, each after those that it needs."""
    node = made.get(value)
    if node is None:
        return
    for one in node.inputs:
        if one is not None:
            yield from _ancestors(one, made)
    yield node


def _replace(model: ir.Model, value: ir.Value, derivation: Derivation, initializers: Mapping[str, ir.Value]) -> None:
    owner = derivation.sources[0].rsplit(".", 2)[0]
    tensor = DerivedTensor(derivation, initializers)
    weight = ir.Value(name=f"{owner}.{derivation.digest}", const_value=tensor)
    weight.type, weight.shape = value.type, value.shape
    value.replace_all_uses_with(weight)
    model.graph.register_initializer(weight)
