"""What the fake TensorRT runs: an ONNX graph on ONNX Runtime, or the description of one, which numpy stands in for.

A description is enough to test how the engine classes call an engine where neither onnx nor ONNX Runtime is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

FLOAT, UINT8, INT32, INT64, HALF, BF16 = 1, 2, 6, 7, 10, 16
"""onnx.TensorProto.DataType."""
NUMPY = {FLOAT: np.float32, UINT8: np.uint8, INT32: np.int32, INT64: np.int64, HALF: np.float16}
Feeds = Mapping[str, np.ndarray]


class Value(NamedTuple):
    kind: int
    """Of onnx.TensorProto.DataType."""
    shape: tuple[int, ...]
    """-1 stands for a symbolic size."""


class SmallGraph(Protocol):
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    one_buffer: dict[str, str]
    """Outputs of `TensorScatter`, and the inputs that have to lie where they do."""

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        """The outputs, in their order."""


def open_graph(path: Path) -> SmallGraph:
    with path.open("rb") as file:
        is_description = file.read(1) == b"{"
    return DescribedGraph(json.loads(path.read_text())) if is_description else OnnxGraph(path)


def describe(path: Path) -> dict[str, Any]:
    """What `DescribedGraph` takes, of an ONNX graph."""
    graph = OnnxGraph(path)
    return {"inputs": graph.inputs, "outputs": graph.outputs, "one_buffer": graph.one_buffer}


class OnnxGraph:
    def __init__(self, path: Path) -> None:
        import onnx

        model = onnx.load(path, load_external_data=False)
        self.inputs = {value.name: _value(value) for value in model.graph.input}
        self.outputs = {value.name: _value(value) for value in model.graph.output}
        scatters = [node for node in model.graph.node if node.op_type == "TensorScatter"]
        self.one_buffer = {node.output[0]: node.input[0] for node in scatters}
        self._path = path
        self._session: Any = None

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            self._session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        outputs: list[np.ndarray] = self._session.run(list(self.outputs), dict(feeds))
        return outputs


def _value(value: Any) -> Value:
    kind = value.type.tensor_type
    return Value(kind.elem_type, tuple(one.dim_value if one.HasField("dim_value") else -1 for one in kind.shape.dim))


class DescribedGraph:
    """Vision keeps the brightest groups and shows their brightness; language adds up all that it was given so far.

    So the next token changes with every token, every position of the cache and every visual token.
    """

    def __init__(self, description: dict[str, Any]) -> None:
        self.inputs = {name: Value(kind, tuple(shape)) for name, (kind, shape) in description["inputs"].items()}
        self.outputs = {name: Value(kind, tuple(shape)) for name, (kind, shape) in description["outputs"].items()}
        self.one_buffer: dict[str, str] = description["one_buffer"]

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        found = self._language(feeds) if "token_ids" in self.inputs else self._vision(feeds)
        values = {name: np.resize(found[name], value.shape) for name, value in self.outputs.items()}
        return [values[name].astype(NUMPY[value.kind]) for name, value in self.outputs.items()]

    def _vision(self, feeds: Feeds) -> dict[str, Any]:
        count, side = len(feeds["frames"]), feeds["frames"].shape[1] // 2
        quarters = feeds["frames"].reshape(count, 2, side, 2, side, 3).mean(axis=(2, 4, 5)).reshape(-1) / 255
        rows, width = self.outputs["visual_tokens"].shape
        kept = np.sort(np.argsort(-quarters, kind="stable")[:rows])
        found = {"visual_tokens": np.repeat(quarters[kept], width), "kept_groups": kept, "scores": quarters}
        if "previous" not in feeds:
            return found
        pooled = np.repeat(quarters, self.outputs["pooled"].shape[1])
        change = abs(quarters - feeds["previous"].mean(axis=1))
        return {**found, "pooled": pooled, "change": change}

    def _language(self, feeds: Feeds) -> dict[str, Any]:
        ids, positions, start = feeds["token_ids"], feeds["positions"], int(feeds["start"][0])
        caches = {f"new_{name}": value.copy() for name, value in feeds.items() if name.startswith(("key.", "value."))}
        for cache in caches.values():
            cache[:, :, start : start + len(ids)] = ((ids + positions) % 97)[:, None]
        seen = sum(int(cache[0, 0, : start + len(ids), 0].astype(np.int64).sum()) for cache in caches.values())
        shown = round(float(feeds["visual_tokens"].astype(np.float64).sum()))
        # A byte that can be printed, which the tokenizer of the tests reads as itself.
        next_token = 33 + (seen + shown) % 90
        return {"logits": np.eye(1, self.outputs["logits"].shape[-1], next_token), "next_token": next_token, **caches}
