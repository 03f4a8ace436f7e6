"""Memory and load of the GPU that this process computes on, for Prometheus; nothing where NVML does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stts_runtime.device import this_device
from stts_runtime.extras import stream_extra
from stts_runtime.power.joules import NoSourceError
from stts_runtime.power.nvml import nvml_of_this_gpu

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector


def register_gpu(registry: CollectorRegistry) -> None:
    """If there is one that tells."""
    if this_device().gpu is None:
        return
    try:
        registry.register(GpuMetrics(*nvml_of_this_gpu()))
    except NoSourceError:
        return


class GpuMetrics(Collector):
    """Asks at every scrape; of all processes together, as NVML has it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def collect(self) -> Iterator[Metric]:
        if (memory := self._ask("nvmlDeviceGetMemoryInfo")) is not None:
            yield GaugeMetricFamily("stts_gpu_memory_used_bytes", "Memory of the GPU in use", value=memory.used)
            yield GaugeMetricFamily("stts_gpu_memory_total_bytes", "Memory of the GPU", value=memory.total)
        if (rates := self._ask("nvmlDeviceGetUtilizationRates")) is not None:
            share = rates.gpu / 100
            yield GaugeMetricFamily("stts_gpu_utilization_ratio", "Share of time in which a kernel ran", value=share)

    def _ask(self, name: str) -> Any:
        """None where the driver does not tell, as on a Jetson."""
        try:
            return getattr(self._nvml, name)(self._handle)
        except self._nvml.NVMLError:
            return None
