"""What the benchmark writes: times, what they could be at best, and where they were measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from stts_tools.gpu_bench.rates import Rates
from stts_tools.gpu_bench.timing import Times


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """One stage of one window, by what ran it."""

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
        """Share of what is possible that the engine reaches."""
        return self.at_best_ms / self.milliseconds["engine"].median


class Memory(_Part):
    """GPU memory in GB: what the engine cannot do without, and what it takes."""

    weights_gb: float
    """Once, whatever number of engines takes them."""
    bound_gb: float
    """Caches, frames and visual tokens."""
    live_gb: float
    """The graph's own tensors at the fullest moment of a run, each freed after its last use."""
    engines_gb: float
    """All that loading and running the engines took besides the weights, after the first runs."""
    most_gb: float
    """The same at the fullest moment of loading and the first runs."""

    @property
    def share(self) -> float:
        """What the engine holds after its first runs, relative to what it needs."""
        return (self.weights_gb + self.engines_gb) / (self.weights_gb + self.bound_gb + self.live_gb)


class DecodeCheck(_Part):
    """The decode kernels compared with ONNX Runtime, along a text that the latter chooses."""

    tokens: int
    worst: float
    """Relative error of the logits."""
    bar: float
    disagreement: str | None
    """What rounding does not explain."""
    megabytes: dict[str, float]
    """Device memory that loading each way and its first tokens took, caches included."""
    long_run_tokens: int
    long_run_ms_a_token: float
    """By the host's clock, as an answer has them."""
    long_run_grown_bytes: int


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
    decode: dict[str, DecodeCheck] = {}
    """By form of the weights."""
