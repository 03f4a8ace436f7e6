"""The series that a box has beside those of its streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stts_runtime.extras import stream_extra

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector


class OfTheBox(Collector):
    """The label `box` is added where the texts of all boxes become one."""

    def __init__(self, uncollected: Callable[[], int]) -> None:
        self._uncollected = uncollected

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "stts_fleet_uncollected_records", "Records that no sink of the fleet has yet", value=self._uncollected()
        )
