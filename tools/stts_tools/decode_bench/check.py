"""The kernels on the GPU against numpy: one layer of random weights, and the same bits twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.cuda_decode.layer import Caches, LayerKernels
from stts_runtime.cuda_decode.shape import DecoderShape
from stts_runtime.cuda_decode.step import StepKernels
from stts_runtime.cuda_decode.variants import Activation, WeightKind
from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.model import Model, Room, WholeStep, rotary_tables, uploaded
from stts_tools.decode_bench.plan import Kernels, Plan
from stts_tools.decode_bench.reference import Format, narrowed, random_layer, step, widened

BARS = {"half": 2e-3, "bfloat": 1.6e-2}
"""Relative errors of a layer's parts: activations are rounded to 11 or 8 bits between kernels."""


def check(
    gpu: Gpu,
    kernels: Kernels,
    shape: DecoderShape,
    plan: Plan,
    activation: Activation,
    slots: list[int],
    layers: int = 6,
) -> dict[str, Any]:
    """One token a sequence, the first to slot `slots[0]` of its cache.

    One layer against numpy, and several in turn for their bits: the same weights each, which is enough
    to see a kernel that reads what the one before has not written yet.
    """
    kind = plan.kind
    bfloat, rng = activation == "bfloat", np.random.default_rng(len(slots))
    form: Format = activation if kind == "dense" else kind
    layer = random_layer(shape, form, rng, bfloat)
    size = max(slots) + 1
    caches = [
        tuple(narrowed(rng.standard_normal((shape.kv_heads, size, shape.head_dim)), bfloat) for _ in range(2))
        for _ in slots
    ]
    x = 3 * rng.standard_normal((len(slots), shape.width)).astype(np.float32)
    tables = rotary_tables(shape, size)
    wide = [(widened(keys, bfloat), widened(values, bfloat)) for keys, values in caches]
    expected = step(shape, layer, x, wide, slots, (tables[0][slots], tables[1][slots]), bfloat)
    room = Room.of(gpu, shape, size)
    weights = uploaded(gpu, layer, room.tables)
    places = [(gpu.upload(keys), gpu.upload(values)) for keys, values in caches]

    def run(how: LayerKernels, layers: int = 1) -> dict[str, NDArray[Any]]:
        def work() -> None:
            for _ in range(layers):
                how.enqueue(int(gpu.stream), len(slots), weights, Caches.of(places), size, room.work)

        room.start(x, slots, slots)
        graph = gpu.graph(work)
        graph.launch()
        gpu.synchronize()
        graph.close()
        return _results(gpu, room, shape, places, slots, size, bfloat)

    apart = replace(plan, dependent=False)
    overlapped = replace(plan, dependent=True)
    first = run(kernels.of(apart, shape, activation))
    deep, again = (run(kernels.of(apart, shape, activation), layers) for _ in range(2))
    at_once = run(kernels.of(overlapped, shape, activation), layers)
    errors = {name: _error(first[name], getattr(expected, name)) for name in first}
    return {
        "kind": kind,
        "activation": activation,
        "batch": len(slots),
        "relative_errors": errors,
        "within_bar": bool(max(errors.values()) < BARS[activation]),
        "same_bits_twice": _same(deep, again),
        "same_bits_dependent": _same(deep, at_once),
    }


def check_batch(gpu: Gpu, kind: WeightKind, shape: DecoderShape, slots: list[int], vocabulary: int) -> dict[str, Any]:
    """Whole steps: many sequences at once, each after as many tokens of its own, against each of them alone."""
    model = Model(gpu, shape, kind, max(slots) + 1, len(slots))
    step = WholeStep(model, StepKernels(gpu.driver, 0, shape, kind, "half"), vocabulary)

    def run(sequences: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        step.start([97 * one % vocabulary for one in sequences], [slots[one] for one in sequences])
        graph = gpu.graph(lambda: step.enqueue(sequences))
        graph.launch()
        results = step.results(len(sequences))
        graph.close()
        return results

    everyone = range(len(slots))
    logits, chosen = run(everyone)
    alone = [run([one]) for one in everyone]
    model.close()
    return {
        "kind": kind,
        "batch": len(slots),
        "same_bits_alone": all(np.array_equal(logits[one], alone[one][0][0]) for one in everyone),
        "same_tokens": bool(np.array_equal(chosen, [int(token[0]) for _, token in alone])),
        "highest": bool(np.array_equal(chosen, logits.argmax(1))),
        "different_tokens": len(set(chosen.tolist())),
    }


def _results(
    gpu: Gpu,
    room: Room,
    shape: DecoderShape,
    places: list[tuple[int, int]],
    slots: list[int],
    size: int,
    bfloat: bool,
) -> dict[str, NDArray[Any]]:
    """As `Step` names them."""

    def narrow(address: int, *dimensions: int) -> NDArray[np.float32]:
        return widened(gpu.download(address, dimensions, np.uint16), bfloat)

    batch, work = len(slots), room.work
    of_cache = shape.kv_heads, size, shape.head_dim
    new = [[narrow(address, *of_cache)[:, slot] for address in pair] for pair, slot in zip(places, slots, strict=True)]
    return {
        "raw": gpu.download(work.raw, (batch, shape.raw_channels), np.float32),
        "keys": np.stack([keys for keys, _ in new]),
        "values": np.stack([values for _, values in new]),
        "attended": narrow(work.attended, batch, shape.channels),
        "hidden": narrow(work.hidden, batch, shape.mlp_width),
        "x": gpu.download(work.x, (batch, shape.width), np.float32),
    }


def _error(got: NDArray[Any], expected: NDArray[Any]) -> float:
    difference = np.linalg.norm(got.astype(np.float64).ravel() - expected.ravel())
    return float(difference / np.linalg.norm(expected))


def _same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)
