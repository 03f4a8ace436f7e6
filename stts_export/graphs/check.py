"""Checks of an exported graph: ONNX's own checker, and its numbers against the float32 modules that it came from.

Graphs with more than 2 GB of weights run piece by piece (`segments`), so that a check needs little memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stts_export.errors import ExportError
from stts_export.graphs.expect import Expectation
from stts_export.graphs.segments import SegmentedGraph, run_in_segments
from stts_runtime.budget import IncrementalBudget, TokenBudget
from stts_runtime.bundle.manifest import Precision
from stts_runtime.references.bars import ROUNDING, Bar, relative_error

Array = NDArray[Any]


WHOLE_BYTES = 2 << 30
"""Weights up to this size are loaded at once."""


def check_onnx(path: Path) -> None:
    """Raises `ExportError` if ONNX's checker refuses the file."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} is not valid ONNX: {error}") from error


def check_incremental(
    path: Path, weights: Path, expected: Expectation, budget: IncrementalBudget, precision: Precision, batch: int = 1
) -> float:
    """As `check_vision`, and compares what is passed to the next frame, too; of the first `batch` frames of those that
    are expected.
    """
    frames = len(expected.inputs["frames"])
    inputs, outputs = (
        {name: values[: len(values) * batch // frames] for name, values in arrays.items()}
        for arrays in (expected.inputs, expected.outputs)
    )
    got = run_in_segments(path, weights, inputs, WHOLE_BYTES)
    for what in ("pooled", "change"):
        _within(path.name, what, got[what], outputs[what], ROUNDING[precision])
    window = replace(budget.pair, frames=max(batch, budget.pair.frames))
    return compare_vision(path.name, got, outputs, window, ROUNDING[precision])


def check_vision(path: Path, weights: Path, expected: Expectation, budget: TokenBudget, precision: Precision) -> float:
    """Runs the graph on the expectation's frames and compares."""
    got = run_in_segments(path, weights, expected.inputs, WHOLE_BYTES)
    return compare_vision(path.name, got, expected.outputs, budget, ROUNDING[precision])


def compare_vision(
    name: str, got: Mapping[str, Array], wanted: Mapping[str, Array], budget: TokenBudget, allowed: Bar
) -> float:
    """The relative error of the visual tokens of all frames that both sides keep the same groups of.

    Raises `ExportError` on a difference that rounding does not explain.
    """
    if "scores" in wanted:
        _within(name, "scores", got["scores"], wanted["scores"], allowed)
    if "kept_groups" not in wanted:
        return _within(name, "visual tokens", got["visual_tokens"], wanted["visual_tokens"], allowed)
    _check_choice(name, got["kept_groups"], wanted, budget, allowed)
    # After the cut a frame sees nothing but itself, so frames that both sides agree about can be compared.
    ours, theirs = (_rows_by_frame(outputs, budget) for outputs in (got, wanted))
    agreed = [frame for frame in theirs if np.array_equal(ours[frame].groups, theirs[frame].groups)]
    got_rows, wanted_rows = (np.concatenate([side[frame].rows for frame in agreed]) for side in (ours, theirs))
    return _within(name, "visual tokens", got_rows, wanted_rows, allowed)


def _check_choice(name: str, got: Array, expected: Mapping[str, Array], budget: TokenBudget, allowed: Bar) -> None:
    """Raises `ExportError` unless every group kept by one side only has a score at the cut."""
    wanted, scores = expected["kept_groups"], expected["scores"].reshape(-1)
    frame_of_kept = wanted // budget.groups
    for group in np.setxor1d(got, wanted):
        # In scope `frame` every frame has a cut of its own.
        of_frame = frame_of_kept == group // budget.groups
        pool = wanted[of_frame] if budget.scope == "frame" else wanted[frame_of_kept > 0]
        if abs(scores[group] - scores[pool].min()) > allowed.cut_margin:
            raise ExportError(f"{name}: the graph and the modules disagree about group {group}, far from the cut")


@dataclass(frozen=True)
class _Frame:
    groups: Array
    rows: Array


def _rows_by_frame(outputs: Mapping[str, Array], budget: TokenBudget) -> dict[int, _Frame]:
    groups, rows = outputs["kept_groups"], outputs["visual_tokens"]
    masks = {frame: groups // budget.groups == frame for frame in range(budget.frames)}
    return {frame: _Frame(groups[mask], rows[mask]) for frame, mask in masks.items()}


def check_language(calls: LanguageCalls, expected: Sequence[Expectation], precision: Precision) -> float:
    """Runs the graph over the expectations' calls in turn; returns the worst relative error of the logits."""
    allowed, worst = ROUNDING[precision], 0.0
    # A prefix, a question and a single token: more of these call nothing else.
    for call in expected[:3]:
        logits = calls(call.inputs)
        if logits is not None:
            worst = max(worst, _within(calls.name, "logits", logits, call.outputs["logits"], allowed))
    return worst


def check_rows(
    path: Path, weights: Path, calls: LanguageCalls, expected: Sequence[Expectation], precision: Precision
) -> float:
    """Runs a graph of several answers: every second one is a token further than the others, if there are this many.

    Caches come from `calls`, the same model one call at a time. Returns the worst relative error of the logits, or 0
    where the caches are too large to be laid out here.
    """
    shape = next(iter(empty_caches(path).values())).shape
    if len(calls.caches) * np.prod(shape) * np.dtype(np.float32).itemsize > WHOLE_BYTES:
        return 0.0
    befores, tokens = [], expected[2:4]
    for number, call in enumerate(expected[: 1 + len(tokens)]):
        calls(call.inputs)
        if number:
            befores.append(calls.caches)
    rows = [number % len(tokens) for number in range(shape[0])]
    graph = SegmentedGraph(path, weights, WHOLE_BYTES)
    inputs = {
        name: np.concatenate([tokens[row].inputs[name] for row in rows])
        for name in ("token_ids", "positions", "start", "last")
        if name in graph.inputs
    }
    caches = {name: np.concatenate([befores[row][name] for row in rows]) for name in calls.caches}
    logits = graph.run({**inputs, **caches})["logits"]
    wanted = np.concatenate([tokens[row].outputs["logits"] for row in rows])
    return _within(path.name, "logits", logits, wanted, ROUNDING[precision])


class LanguageCalls:
    """A language model as graphs, one call after the other; its caches go in and come out of every call."""

    def __init__(self, step: Path, weights: Path, prefill: Path | None = None) -> None:
        self.name = step.name
        self._step = SegmentedGraph(step, weights, WHOLE_BYTES)
        self._prefill = SegmentedGraph(prefill, weights, WHOLE_BYTES) if prefill else None
        self.caches = empty_caches(step)

    def __call__(self, inputs: Mapping[str, Array]) -> Array | None:
        """Takes what any lowering's graph takes; logits (1, vocabulary), or None for a prefix whose graph has none."""
        graph = self._prefill if self._prefill and inputs["start"][0] == 0 else self._step
        outputs = graph.run({**{name: inputs[name] for name in graph.inputs if name in inputs}, **self.caches})
        self.caches = {name: outputs[f"new_{name}"] for name in self.caches}
        return outputs.get("logits")


def empty_caches(path: Path) -> dict[str, Array]:
    """Zeroed caches for a language graph, by the names of its inputs."""
    graph = onnx.load(path, load_external_data=False).graph
    outputs = {output.name for output in graph.output}
    shapes = {entry.name: [size.dim_value for size in entry.type.tensor_type.shape.dim] for entry in graph.input}
    return {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items() if f"new_{name}" in outputs}


def _within(name: str, what: str, got: Array, wanted: Array, allowed: Bar) -> float:
    error = relative_error(got, wanted)
    if not error <= allowed.features:
        raise ExportError(f"{name}: {what} differ from the modules by {error:.2g} of their norm")
    return error
