"""Runs an ONNX graph piece by piece, so that only one piece's weights are in memory at a time.

For checking graphs that are too large to load beside the modules that they came from. Slow: every piece is a session
of its own, made for one run. ONNX Runtime's CPU provider does not compute in bfloat16, so what a graph keeps in it
(exactly representable in float32) is computed in float32 here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from stts_export.graphs.widen import widen_nodes, widened

Array = NDArray[Any]


def run_in_segments(path: Path, feeds: Mapping[str, Array], max_weight_bytes: int) -> dict[str, Array]:
    """The graph's outputs by name, with at most about `max_weight_bytes` of weights loaded at once.

    A piece holds at least one node, so a single larger weight still loads.
    """
    model = onnx.load(path, load_external_data=False)
    widen_nodes(model.graph.node)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = [output.name for output in model.graph.output]
    pieces = list(_pieces(model.graph.node, weights, max_weight_bytes))
    values = {entry.name: feeds[entry.name].astype(_computed_in(entry)) for entry in model.graph.input}
    # An output may be a constant: the kept groups are, where the budget is the first frame and nothing else.
    values |= {name: numpy_helper.to_array(weights[name]) for name in wanted if name in weights}
    for number, nodes in enumerate(pieces):
        later = {name for piece in pieces[number + 1 :] for node in piece for name in node.input} | set(wanted)
        values.update(_run_piece(path, model, nodes, weights, values, later))
        values = {name: value for name, value in values.items() if name in later}
    return {name: values[name] for name in wanted}


def _computed_in(entry: ValueInfoProto) -> np.dtype[Any]:
    kind = entry.type.tensor_type.elem_type
    return helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT if kind == TensorProto.BFLOAT16 else kind)


def _pieces(nodes: Sequence[NodeProto], weights: Mapping[str, TensorProto], limit: int) -> Iterator[list[NodeProto]]:
    piece: list[NodeProto] = []
    held: dict[str, int] = {}
    for node in nodes:
        new = {name: _size(weights[name]) for name in node.input if name in weights}
        if piece and sum((held | new).values()) > limit:
            yield piece
            piece, held = [], {}
        piece.append(node)
        held |= new
    yield piece


def _size(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _run_piece(
    path: Path,
    model: ModelProto,
    nodes: Sequence[NodeProto],
    weights: Mapping[str, TensorProto],
    values: Mapping[str, Array],
    later: set[str],
) -> dict[str, Array]:
    used = {name for node in nodes for name in node.input if name}
    outputs = [name for node in nodes for name in node.output if name in later]
    graph = GraphProto(
        name="piece",
        node=nodes,
        initializer=[widened(weights[name], path.parent) for name in sorted(used & weights.keys())],
        input=[_described(name, values[name]) for name in sorted(used & values.keys())],
        output=[ValueInfoProto(name=name) for name in outputs],
    )
    piece = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    # References to the weight file are relative, so the piece has to lie beside it.
    scratch = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        scratch.write_bytes(piece.SerializeToString())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(scratch), sess_options=options, providers=["CPUExecutionProvider"])
        feeds = {entry.name: values[entry.name] for entry in graph.input}
        return dict(zip(outputs, session.run(outputs, feeds), strict=True))
    finally:
        scratch.unlink(missing_ok=True)


def _described(name: str, value: Array) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
