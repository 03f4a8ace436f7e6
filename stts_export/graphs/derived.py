"""Weights that a graph computes from others, computed when the graph is written.

A lowering may want weights in another form than the checkpoint has them: three projections as one, more channels in
every head. TensorRT 8.6 takes such a product of constants for a weight and gets it wrong (`Gemm` over a `Concat` of
padded weights was 48 % off on an H200, and right with the same numbers as a constant). Views of a weight stay in the
graph; they would only double it in the file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common
from torch import Tensor

from stts_export.checkpoint.streaming import placeholder

_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast"}

_DIGEST = re.compile(r"(^|\.)[0-9a-f]{8}$")

Array = NDArray[np.generic]


def is_derived(name: str) -> bool:
    """Whether a weight with this name in a bundle is one that `derive_weights` named."""
    return _DIGEST.search(name) is not None


@dataclass(frozen=True)
class Derivation:
    """Nodes that make one weight of others."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]
    sources: tuple[str, ...]
    """The weights that it is made of, by their names in the graph."""
    output: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opset: int

    @property
    def like(self) -> Tensor:
        """A placeholder of its shape and type."""
        return placeholder(self.shape, getattr(torch, self.dtype.name))

    def compute(self, source: Callable[[str], Array]) -> Array:
        """The weight, from its sources by name."""
        values = {**self.constants, **{name: source(name) for name in self.sources}}
        for node in self.nodes:
            values |= zip(node.output, _run(node, values, self.opset), strict=True)
        return np.ascontiguousarray(values[self.output])

    @property
    def digest(self) -> str:
        """The same for the same computation of the same weights, whatever graph it stands in."""
        numbers: dict[str, str] = {}
        digest = hashlib.sha256()
        for node in self.nodes:
            named = [
                numbers.get(name, name if name in self.sources else _hash(self.constants, name)) for name in node.input
            ]
            attributes = [attribute.SerializeToString(deterministic=True) for attribute in node.attribute]
            digest.update(repr((node.op_type, named, attributes)).encode())
            numbers |= {name: f"#{len(numbers) + number}" for number, name in enumerate(node.output)}
        return digest.hexdigest()[:8]


class DerivedTensor(ir.LazyTensor):
    """The value of a derived weight: computed from those of its sources when it is asked for."""

    def __init__(self, derivation: Derivation, initializers: Mapping[str, ir.Value]) -> None:
        self.derivation = derivation
        held = {name: initializers[name].const_value for name in derivation.sources}

        def source(name: str) -> Array:
            tensor = held[name]
            assert tensor is not None
            return tensor.numpy()

        dtype, shape = ir.DataType.from_numpy(derivation.dtype), ir.Shape(derivation.shape)
        super().__init__(lambda: ir.tensor(derivation.compute(source)), dtype=dtype, shape=shape)


def derive_weights(model: ir.Model, weights: Collection[str]) -> None:
    """In place: what the graph computes of `weights` and constants alone, views aside, becomes a weight of its own.

    Its name is that of the module whose weights it is made of, and a digest.
    """
    initializers = dict(model.graph.initializers)
    made: dict[ir.Value, ir.Node] = {}
    for node in model.graph:
        if node.inputs and all(value is None or value.name in initializers or value in made for value in node.inputs):
            made |= dict.fromkeys(node.outputs, node)
    for value in [value for value in made if any(use.outputs[0] not in made for use, _ in value.uses())]:
        derivation = _derivation(value, made, weights, initializers, model.opset_imports[""])
        if derivation is not None:
            _replace(model, value, derivation, initializers)
    common.RemoveUnusedNodesPass()(model)


def _derivation(
    value: ir.Value,
    made: Mapping[ir.Value, ir.Node],
    weights: Collection[str],
    initializers: Mapping[str, ir.Value],
    opset: int,
) -> Derivation | None:
    """None for views of a weight, and for what is made of none."""
    nodes = list(dict.fromkeys(_ancestors(value, made)))
    taken = [one.name for node in nodes for one in node.inputs if one is not None]
    names = [name for name in taken if name is not None and name in initializers]
    sources = tuple(dict.fromkeys(name for name in names if name in weights))
    if not sources or all(node.op_type in _VIEWS for node in nodes):
        return None
    assert value.name is not None
    assert value.shape is not None
    assert value.dtype is not None
    held = {name: initializers[name].const_value for name in names if name not in weights}
    constants = {name: tensor.numpy() for name, tensor in held.items() if tensor is not None}
    protos = tuple(ir.to_proto(node) for node in nodes)
    shape = tuple(int(size) for size in value.shape.numpy())
    return Derivation(protos, constants, sources, value.name, shape, value.dtype.numpy(), opset)


def _ancestors(value: ir.Value, made: Mapping[ir.Value, ir.Node]) -> Iterator[ir.Node]:
    """The nodes that make a value, each behind those that it needs."""
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


def _run(node: onnx.NodeProto, values: Mapping[str, Array], opset: int) -> list[Array]:
    used = [name for name in dict.fromkeys(node.input) if name]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(values[name].dtype), None)
        for name in used
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = onnx.helper.make_graph([node], "derivation", inputs, outputs)
    alone = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return [np.asarray(one) for one in ReferenceEvaluator(alone).run(None, {name: values[name] for name in used})]


def _hash(constants: Mapping[str, Array], name: str) -> str:
    constant = constants.get(name)
    return (
        ""
        if constant is None
        else hashlib.sha256(repr((constant.dtype, constant.shape, constant.tobytes())).encode()).hexdigest()
    )
