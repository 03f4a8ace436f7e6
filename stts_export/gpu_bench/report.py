"""What the benchmark writes: times, what they could be at best, and where they were measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from stts_export.gpu_bench.rates import Rates
from stts_export.gpu_bench.timing import Times


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """One stage of one window, by what ran it: `engine`, `torch eager`, `torch compile` and so on."""

    stage: str
    variant: str
    frames: int
    keep: float
    tokens: int
    """Kept groups for vision, tokens of the prefix for prefill."""
    milliseconds: dict[str, Times]
    at_best_ms: float
    """Products and attention at this run's rates, or for decoding the bytes at its copy rate; nothing else."""

    @property
    def share(self) -> float:
        """Of what is possible, that the engine reaches."""
        return self.at_best_ms / self.milliseconds["engine"].median


class Memory(_Part):
    """Of the GPU, in GB, behind the first runs."""

    weights: float
    """Once, whatever number of engines takes them."""
    engines: float
    """All else that loading and running the engines took: caches, inputs and outputs, activations, workspaces."""


class GpuReport(_Part):
    created: str
    command: str
    gpu: str
    driver: str
    versions: dict[str, str]
    size: str
    precision: str
    rounds: int
    rates: Rates
    rows: list[Row]
    memory: dict[str, Memory]
    notes: list[str]
