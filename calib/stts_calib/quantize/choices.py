"""Whether a vision graph still chooses the same tokens, and makes the same of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from stts_runtime.bundle.manifest import Format
from stts_runtime.engines.onnxruntime_session import COMPUTES_WIDE


@dataclass(frozen=True)
class Agreement:
    """Agreement of one graph with another, means over windows."""

    kept_iou: float
    """Kept sets: what both keep, over what either keeps."""
    token_error: float
    """Euclidean, of the visual tokens that both make, over their length."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What a graph made of a window."""

    groups: NDArray[np.int64]
    """(K,), ascending."""
    tokens: NDArray[np.float32]
    """(K, width)"""


def choices(graph: Path | ModelProto, windows: Sequence[NDArray[np.uint8]], form: Format | None = None) -> list[Choice]:
    """Runs a pruned variant's graph, quantized to `form`, on the CPU."""
    session = _session(graph, form)
    (frames,) = session.get_inputs()
    found = []
    for window in windows:
        groups, tokens = session.run(["kept_groups", "visual_tokens"], {frames.name: window})
        found.append(Choice(groups, tokens))
    return found


def agreement(got: Sequence[Choice], wanted: Sequence[Choice]) -> Agreement:
    pairs = list(zip(got, wanted, strict=True))
    return Agreement(
        kept_iou=float(np.mean([_iou(one, other) for one, other in pairs])),
        token_error=float(np.mean([_token_error(one, other) for one, other in pairs])),
    )


def _iou(one: Choice, other: Choice) -> float:
    both = len(np.intersect1d(one.groups, other.groups))
    return both / (len(one.groups) + len(other.groups) - both)


def _token_error(got: Choice, wanted: Choice) -> float:
    _, here, there = np.intersect1d(got.groups, wanted.groups, return_indices=True)
    right = wanted.tokens[there].astype(np.float64)
    return float(np.linalg.norm(got.tokens[here] - right) / np.linalg.norm(right))


def _session(graph: Path | ModelProto, form: Format | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if form == "fp8":
        options.add_session_config_entry(*COMPUTES_WIDE)
    if isinstance(graph, Path):
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory(prefix="stts-calibrate-") as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path, save_as_external_data=True, location="weights.bin")
        return _session(path, form)
