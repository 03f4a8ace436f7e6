"""What a build will ask of this machine, before it starts: memory, disk and time of each part.

The figures are fitted to builds with TensorRT-RTX 1.7 (benchmarks/compile/): graphs of 9 to 915 MB of weights. Later
versions of TensorRT hold copies of the weights in the same places, so the same estimate of memory stands in for them,
unmeasured. 8.6 takes far more (benchmarks/tensorrt/builds-8.6.0-h200.jsonl): 4.7 to 6.1 GB for graphs of the shipped
checkpoint, 9.8 to 10.8 GB for four layers of Molmo2-4B's tower, 17.7 GB for all of it. TensorRT times kernels on the
device, so there is no estimate of its time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from stts_runtime.bundle import Bundle
from stts_runtime.compile.choose import Part
from stts_runtime.errors import UserError
from stts_runtime.tensorrt import Flavour

_MB = 1e6

# A process that has loaded TensorRT-RTX and compiled a small graph; pruned graphs with many seats are at the upper end.
_LIBRARY_MB = 700.0
# Copies of the weights at the peak, some of them pages of the file; one more where the engine is built in memory.
_WEIGHT_COPIES = 3.0
# For TensorRT 8.6: more copies as far as it was seen, which ends at 900 MB of weights.
_LIBRARY_8_6_MB = 6000.0
_MORE_COPIES_8_6 = 10.0
_SEEN_8_6_MB = 900.0
# An engine is its weights and constants. TensorRT-RTX makes kernels on the device, so more architectures add nothing.
_PLAN_PER_WEIGHT = 1.15
_PLAN_MB = 20.0
_SECONDS = 0.5
_SECONDS_PER_GRAPH_MB = 5.0
_SECONDS_PER_WEIGHT_MB = 0.01


@dataclass(frozen=True)
class Machine:
    """What there is."""

    memory_mb: float
    swap_mb: float
    disk_mb: float

    @classmethod
    def here(cls, folder: Path) -> Machine:
        free_swap, disk = psutil.swap_memory().free, shutil.disk_usage(folder).free
        return cls(psutil.virtual_memory().available / _MB, free_swap / _MB, disk / _MB)


@dataclass(frozen=True)
class Estimate:
    """What one part takes."""

    memory_mb: float
    disk_mb: float
    seconds: float | None
    """None for TensorRT, which times kernels on the device."""


def estimate(bundle: Bundle, part: Part, flavour: Flavour) -> Estimate:
    """From the sizes of the graph and of its weights."""
    files = bundle.manifest.files
    weights_mb, graph_mb = (files[name].size_bytes / _MB for name in (part.graph.weights, part.graph.graph))
    library, copies = _LIBRARY_MB, _WEIGHT_COPIES + (0 if flavour.writes_to_files else 1)
    if flavour.is_before_10:
        library = _LIBRARY_8_6_MB + _MORE_COPIES_8_6 * min(weights_mb, _SEEN_8_6_MB)
    seconds = _SECONDS + _SECONDS_PER_GRAPH_MB * graph_mb + _SECONDS_PER_WEIGHT_MB * weights_mb
    return Estimate(
        memory_mb=library + copies * weights_mb,
        disk_mb=_PLAN_MB + _PLAN_PER_WEIGHT * weights_mb,
        seconds=seconds if flavour.compiles_without_gpu else None,
    )


def memory_needed(estimates: Mapping[str, Estimate], jobs: int) -> float:
    """Megabytes at the peak, if the largest parts meet among those that are compiled at the same time."""
    return sum(sorted((one.memory_mb for one in estimates.values()), reverse=True)[:jobs])


def check_machine(
    folder: Path, estimates: Mapping[str, Estimate], machine: Machine | None = None, jobs: int = 1
) -> None:
    """Raises `UserError` before a build that would be killed for memory, or would fill the disk."""
    if not estimates:
        return
    machine = machine or Machine.here(folder)
    needed, there = memory_needed(estimates, jobs), machine.memory_mb + machine.swap_mb
    if needed > there:
        what, remedy = _what_is_compiled(estimates, jobs)
        raise UserError(
            f"compiling {what} needs about {_gb(needed)} of memory and {_gb(machine.memory_mb)} are free, with "
            f"{_gb(machine.swap_mb)} of swap; {remedy} close other programs or add {_gb(needed - there)} of swap"
        )
    disk = sum(one.disk_mb for one in estimates.values())
    if disk > machine.disk_mb:
        raise UserError(
            f"{len(estimates)} engines need about {_gb(disk)} of disk and {_gb(machine.disk_mb)} are free on the disk "
            f"of {folder}; compile fewer of them with --variant, or make room"
        )


def _what_is_compiled(estimates: Mapping[str, Estimate], jobs: int) -> tuple[str, str]:
    """The parts in words, and what besides memory would help, or would not."""
    if min(jobs, len(estimates)) > 1:
        return f"{min(jobs, len(estimates))} parts at a time", "fewer --jobs need less, or"
    largest = max(estimates, key=lambda part: estimates[part].memory_mb)
    return largest, "parts are compiled one by one, so fewer of them do not help:"


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB"
