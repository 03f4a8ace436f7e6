"""Runs an ONNX graph piece by piece, so that only one piece's weights are in memory at a time.

For checking graphs that are too large to load next to the modules that they came from. Slow: every piece is a session
of its own, made for one run. ONNX Runtime's CPU provider does not compute in bfloat16, so what a graph keeps in it
(exactly representable in float32) is computed in float32 here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper, numpy_helper

from stts_export.graphs.on_cpu import make_runnable_on_cpu
from stts_export.graphs.weight_file import refer_from_inputs
from stts_export.graphs.widen import widen_nodes, widened

Array = NDArray[Any]

_WEIGHT_FOLDER = "session.model_external_initializers_file_folder_path"


def run_in_segments(path: Path, weights: Path, feeds: Mapping[str, Array], max_weight_bytes: int) -> dict[str, Array]:
    """The graph's outputs by name, for one run."""
    return SegmentedGraph(path, weights, max_weight_bytes).run(feeds)


class SegmentedGraph:
    """A graph in pieces with at most about `max_weight_bytes` of weights each; one that fits whole stays loaded.

    A piece holds at least one node, so a single larger weight still loads.
    """

    def __init__(self, path: Path, weights: Path, max_weight_bytes: int) -> None:
        self._path = path
        self._model = onnx.load(path, load_external_data=False)
        refer_from_inputs(self._model, weights)
        graph = self._model.graph
        widen_nodes(graph.node)
        make_runnable_on_cpu(self._model)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._pieces = list(_pieces(graph.node, self._weights, max_weight_bytes))
        self._whole: onnxruntime.InferenceSession | None = None
        self.inputs = {entry.name: entry.type.tensor_type for entry in graph.input}
        self.outputs = [output.name for output in graph.output]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All inputs by name -> all outputs by name."""
        values = {name: feeds[name].astype(_computed_in(kind)) for name, kind in self.inputs.items()}
        # An output may be a constant: the kept groups are, where the budget is the first frame and nothing else.
        held = self._weights
        values |= {name: numpy_helper.to_array(held[name]) for name in self.outputs if name in held}
        for number, nodes in enumerate(self._pieces):
            later = {name for piece in self._pieces[number + 1 :] for node in piece for name in node.input}
            later |= set(self.outputs)
            values.update(self._run_piece(nodes, values, later))
            values = {name: value for name, value in values.items() if name in later}
        return {name: values[name] for name in self.outputs}

    def _run_piece(self, nodes: list[NodeProto], values: Mapping[str, Array], later: set[str]) -> dict[str, Array]:
        used = {name for node in nodes for name in node.input if name}
        outputs = [name for node in nodes for name in node.output if name in later]
        feeds = {name: values[name] for name in sorted(used & values.keys())}
        session = self._whole or self._session(nodes, used & self._weights.keys(), feeds, outputs)
        if len(self._pieces) == 1:
            self._whole = session
        return dict(zip(outputs, session.run(outputs, feeds), strict=True))

    def _session(
        self, nodes: list[NodeProto], weights: set[str], feeds: Mapping[str, Array], outputs: list[str]
    ) -> onnxruntime.InferenceSession:
        graph = GraphProto(
            name="piece",
            node=nodes,
            initializer=[widened(self._weights[name], self._path.parent) for name in sorted(weights)],
            input=[_described(name, value) for name, value in feeds.items()],
            output=[ValueInfoProto(name=name) for name in outputs],
        )
        model = self._model
        piece = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # The piece is no file, and its references to the weight file are relative.
        options.add_session_config_entry(_WEIGHT_FOLDER, str(self._path.parent.resolve()))
        content = piece.SerializeToString()
        return onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])


def _computed_in(tensor: TypeProto.Tensor) -> np.dtype[Any]:
    kind = tensor.elem_type
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


def _described(name: str, value: Array) -> ValueInfoProto:
    # A graph that stays loaded is called with prompts of other lengths.
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
