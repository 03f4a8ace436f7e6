"""Ranges of the activations that go into products, measured on calibration frames, by the name of the weight.

The library's collectors do the arithmetic; they are fed here, one block of the model at a time, so that no more than a
block's activations are in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from stts_calib.quantize.products import Product, products_of
from stts_calib.quantize.quiet import quiet
from stts_runtime.errors import UserError

Method = Literal["minmax", "entropy", "percentile"]
PERCENTILE = 99.99
_BINS = 2048
_QUANTIZED_BINS = 128
SATURATED_PERCENT = 1.0
"""Share of other frames' values beyond the range; methods that cut off outliers leave out a tenth of that."""

Activations = Sequence[tuple[str, NDArray[Any]]]
"""With the names of their weights, some of which have more than one."""


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value by weight."""

    method: Method
    of: Mapping[str, tuple[float, float]]

    def by_activation(self, products: Iterable[Product]) -> dict[str, tuple[float, float]]:
        """What one activation meets in several products is as wide as the widest of them."""
        found: dict[str, tuple[float, float]] = {}
        for product in products:
            low, high = self.of[product.weight]
            before = found.get(product.activation, (low, high))
            found[product.activation] = min(low, before[0]), max(high, before[1])
        return found


def measure_ranges(graph: Path, windows: Iterable[NDArray[np.uint8]], method: Method) -> Ranges:
    """Raises `UserError` for activations that are not finite."""
    extremes: dict[str, tuple[float, float]] = {}
    collector = HistogramCollector(method, True, _BINS, _QUANTIZED_BINS, PERCENTILE, "same")

    def look(values: Activations) -> None:
        for weight, value in values:
            low, high = float(value.min()), float(value.max())
            if not np.isfinite([low, high]).all():
                raise UserError(f"the activation of {weight} holds NaN or infinity, so it has no range")
            before = extremes.get(weight, (low, high))
            extremes[weight] = min(low, before[0]), max(high, before[1])
        if method != "minmax":
            with quiet():
                collector.collect(_by_weight(values))

    watch_activations(graph, windows, look)
    if method == "minmax":
        return Ranges(method, extremes)
    with quiet():
        found = collector.compute_collection_result()
    symmetric = {weight: found[weight][:2] for weight in extremes}
    # Thresholds are symmetric; an activation that is never negative keeps its end.
    return Ranges(
        method,
        {
            weight: (max(float(symmetric[weight][0]), low), min(float(symmetric[weight][1]), high))
            for weight, (low, high) in extremes.items()
        },
    )


def check_ranges(graph: Path, windows: Iterable[NDArray[np.uint8]], ranges: Ranges) -> None:
    """Raises `UserError` if more than a few values of frames that gave no ranges are beyond them."""
    beyond: dict[str, list[float]] = {}

    def look(values: Activations) -> None:
        for weight, value in values:
            low, high = ranges.of[weight]
            beyond.setdefault(weight, []).append(100 * float(((value < low) | (value > high)).mean()))

    watch_activations(graph, windows, look)
    worst = max(beyond, key=lambda weight: float(np.mean(beyond[weight])))
    percent = float(np.mean(beyond[worst]))
    if percent > SATURATED_PERCENT:
        low, high = ranges.of[worst]
        raise UserError(
            f"the range of the activation of {worst}, {low:.3g} to {high:.3g}, is saturated: {percent:.1f} % of the "
            f"values of other frames lie beyond it ({SATURATED_PERCENT:g} % may); calibrate on more varied frames"
        )


def watch_activations(graph: Path, windows: Iterable[NDArray[np.uint8]], look: Callable[[Activations], None]) -> None:
    """Shows `look` the activations of each block's products, for each window."""
    model = onnx.load(graph, load_external_data=False)
    products, (frames,) = products_of(model), [one.name for one in model.graph.input]
    types = {one.name: one for one in model.graph.value_info}
    known = {one.name for one in model.graph.output}
    for name in dict.fromkeys(product.activation for product in products):
        if name not in known:
            model.graph.output.append(types[name])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The weights' file is next to the graph.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    blocks = [list(group) for _, group in groupby(products, key=lambda product: product.block)]
    for window in windows:
        for block in blocks:
            look(_activations(session, {frames: window}, block))


def _activations(session: Any, feed: dict[str, Any], block: list[Product]) -> Activations:
    names = list(dict.fromkeys(product.activation for product in block))
    values = dict(zip(names, session.run(names, feed), strict=True))
    return [(product.weight, values[product.activation]) for product in block]


def _by_weight(values: Activations) -> dict[str, list[NDArray[Any]]]:
    """Flat, since the activations of one weight may differ in shape."""
    grouped: dict[str, list[NDArray[Any]]] = {}
    for weight, value in values:
        grouped.setdefault(weight, []).append(value.reshape(-1))
    return {weight: [np.concatenate(parts)] for weight, parts in grouped.items()}
