"""The sections of the benchmark. Each runs in a process of its own, so that a fault in one leaves the others."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stts_runtime.cuda_decode.layer import ORDER, KernelName, LayerKernels
from stts_runtime.cuda_decode.shape import MAX_BATCH, DecoderShape
from stts_runtime.cuda_decode.step import StepKernels
from stts_runtime.cuda_decode.variants import ACTIVATIONS, KINDS, ProductName, WeightKind
from stts_tools.decode_bench.check import check, check_batch
from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.model import MOLMO2_4B, Model, WholeStep, weight_bytes
from stts_tools.decode_bench.plan import Kernels, Plan
from stts_tools.decode_bench.tune import Tuner, beside_bound

LENGTHS = (772, 3052)
VOCABULARY = 151_936
_COPIED = 1 << 30
_SMALL = replace(MOLMO2_4B, heads=8, kv_heads=2, mlp_width=2464)
"""As wide as the model and a tenth of its weights, for formats that numpy packs slowly."""
_TINY = DecoderShape(width=288, layers=4, heads=4, kv_heads=2, head_dim=64, mlp_width=352)

Note = Callable[[str, Any], None]
"""Adds to the section's results, which are kept whatever comes after."""


def machine(gpu: Gpu, note: Note) -> None:
    note("device", gpu.described())
    note("copy_bytes_a_second", copy_rate(gpu))


def copy_rate(gpu: Gpu) -> float:
    """Read and written, of a gigabyte from device memory to device memory."""
    source, target = gpu.zeros(_COPIED), gpu.allocate(_COPIED)
    taken = gpu.milliseconds(lambda: gpu.copy(target, source, _COPIED), 9, 4)
    gpu.free(source)
    gpu.free(target)
    return 2 * _COPIED / (statistics.median(taken[1:]) / 1000)


def checks(gpu: Gpu, kernels: Kernels, note: Note) -> None:
    """Against numpy: all formats, odd shapes, several sequences; last the whole width."""
    for kind, activation in itertools.product(KINDS, ACTIVATIONS):
        for shape, slots in ((_TINY, [5, 0, 63]), (_SMALL, [772])):
            name = f"{kind} {activation}, heads of {shape.head_dim}, {len(slots)} sequences"
            plan = Plan.packaged(kind, dependent=False)
            note(name, attempt(lambda: check(gpu, kernels, shape, plan, activation, slots)))  # noqa: B023
    everyone = [100 * number + 17 for number in range(MAX_BATCH)]
    plan = Plan.packaged("dense", dependent=False)
    note("dense half, eight sequences", attempt(lambda: check(gpu, kernels, _SMALL, plan, "half", everyone)))
    for kind in KINDS:
        note(f"{kind}, whole steps of eight", attempt(lambda: check_batch(gpu, kind, _SMALL, everyone, 4096)))  # noqa: B023
    note("dense half, whole size", attempt(lambda: check(gpu, kernels, MOLMO2_4B, plan, "half", [772])))


def timings(gpu: Gpu, kernels: Kernels, kind: WeightKind, until: float, note: Note) -> None:
    """A model of all its layers: as packaged, then the fastest that the sweep finds."""
    rate = copy_rate(gpu)
    note("copy_bytes_a_second", rate)
    model = Model(gpu, MOLMO2_4B, kind, slots=4096, batch=MAX_BATCH)
    tuner = Tuner(gpu, kernels, model, LENGTHS[0], until)

    def timed(plan: Plan, length: int, batch: int) -> dict[str, Any]:
        tuner.length = length
        return beside_bound(model, length, batch, tuner.layer_us(plan, batch), rate)

    def behind_all(plan: Plan) -> list[dict[str, Any]]:
        return [attempt(lambda: timed(plan, length, 1)) for length in LENGTHS]  # noqa: B023

    for name, dependent in (("packaged, one after the other", False), ("packaged, dependent", True)):
        note(name, behind_all(Plan.packaged(kind, dependent)))
    tuner.length = LENGTHS[0]
    plan, _ = tuner.best(Plan.packaged(kind, dependent=True))
    note("best plan", plan.described())
    note("best", behind_all(plan))
    note("best, one after the other", behind_all(replace(plan, dependent=False)))
    note("whole step, ms", attempt(lambda: whole_steps(gpu, kernels, model, plan)))
    note("best, batches", [attempt(lambda: timed(plan, LENGTHS[0], batch)) for batch in (1, 2, 4, MAX_BATCH)])  # noqa: B023
    note("best, splits", {splits: behind_all(replace(plan, splits=splits)) for splits in (8, 16, 32)})
    note("kernels alone", attempt(lambda: alone(gpu, kernels, model, plan)))
    note("check of the best", attempt(lambda: check(gpu, kernels, _SMALL, plan, "half", [772, 30])))
    note("tried", tuner.tried)


def alone(gpu: Gpu, kernels: Kernels, model: Model, plan: Plan) -> dict[str, Any]:
    """Each kernel over all layers, one launch after the other: microseconds, and terabytes of weights a second."""
    results: dict[str, Any] = {}
    whole = kernels.of(plan, model.shape)
    for name in ORDER:
        model.start(LENGTHS[0], 1)
        graph = gpu.graph(lambda: _enqueue_only(model, whole, name))  # noqa: B023
        gpu.milliseconds(graph.launch, 1, 2)
        taken = statistics.median(gpu.milliseconds(graph.launch, 5, 4)) * 1000 / model.shape.layers
        graph.close()
        results[name] = {"us": round(taken, 3)}
        if name != "attention":
            results[name]["terabytes_a_second"] = round(_bytes_of(model, name) / taken / 1e6, 3)
    return results


def whole_steps(gpu: Gpu, kernels: Kernels, model: Model, plan: Plan) -> dict[str, Any]:
    """Milliseconds of a token of each sequence, head and choice included."""
    step = StepKernels(gpu.driver, 0, model.shape, model.kind, "half")
    step.layer = kernels.of(plan, model.shape)
    work, results = WholeStep(model, step, VOCABULARY), {}
    for length, batch in [*((length, 1) for length in LENGTHS), *((LENGTHS[0], batch) for batch in (2, 4, MAX_BATCH))]:
        work.start([0] * batch, [length] * batch)
        graph = gpu.graph(lambda: work.enqueue(range(batch)))  # noqa: B023
        gpu.milliseconds(graph.launch, 1, 2)
        results[f"{batch} behind {length}"] = round(statistics.median(gpu.milliseconds(graph.launch, 7, 4)), 4)
        graph.close()
    return results


def _enqueue_only(model: Model, kernels: LayerKernels, name: KernelName) -> None:
    for layer, caches in zip(model.layers, model.caches, strict=True):
        kernels.enqueue_one(name, int(model.gpu.stream), 1, layer, caches, model.slots, model.room.work)


def _bytes_of(model: Model, name: ProductName) -> int:
    sizes = model.shape.matrices
    of_kernel = ("gate", "up") if name == "gated" else (name,)
    return sum(sum(weight_bytes(model.kind, *sizes[one])) for one in of_kernel)


def attempt(work: Callable[[], Any]) -> Any:
    """What the work gives, or its error in words: one failure is a result too."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}


def run_section(section: str, sweep: Path | None, until: float, note: Note) -> None:
    gpu = Gpu()
    kernels = Kernels(gpu, sweep)
    if section == "machine":
        machine(gpu, note)
    elif section == "checks":
        checks(gpu, kernels, note)
    else:
        timings(gpu, kernels, next(kind for kind in KINDS if kind == section), until, note)


def deadline(seconds: float) -> float:
    return time.monotonic() + seconds
