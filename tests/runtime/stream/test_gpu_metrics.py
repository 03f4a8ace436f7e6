"""What NVML tells of a GPU, and what it does not, on a stand-in for its module."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from stts_runtime.stream.gpu_metrics import GpuMetrics, register_gpu


class Nvml:
    class NVMLError(Exception):
        pass

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802  # NVML's name
        assert handle == "gpu"
        return SimpleNamespace(used=3e9, total=8e9)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        assert handle == "gpu"
        return SimpleNamespace(gpu=37)


class Jetson(Nvml):
    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        raise self.NVMLError


def text(nvml: Nvml) -> str:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(nvml, "gpu"))
    return str(generate_latest(registry).decode())


def test_memory_and_load_are_told() -> None:
    said = text(Nvml())
    for line in (
        "stts_gpu_memory_used_bytes 3e+09",
        "stts_gpu_memory_total_bytes 8e+09",
        "stts_gpu_utilization_ratio 0.37",
    ):
        assert line in said.splitlines()


def test_what_the_driver_does_not_tell_is_left_out() -> None:
    said = text(Jetson())
    assert "stts_gpu_utilization_ratio 0.37" in said
    assert "memory" not in said


def test_without_a_gpu_there_is_no_series(monkeypatch: Any) -> None:
    monkeypatch.setattr("stts_runtime.stream.gpu_metrics.this_device", lambda: SimpleNamespace(gpu=None))
    registry = CollectorRegistry()
    register_gpu(registry)
    assert generate_latest(registry) == b""
