"""The series of a fleet's own process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stts_runtime.extras import stream_extra

if TYPE_CHECKING:
    from stts_runtime.fleet.fleet import Fleet

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

BOX = "box"


class OfTheFleet(Collector):
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        fleet = self._fleet
        streams = GaugeMetricFamily("stts_fleet_streams", "Streams that a box looks at", labels=[BOX])
        bears = GaugeMetricFamily("stts_fleet_bears", "Streams that a box bears", labels=[BOX])
        for link in fleet.ready:
            streams.add_metric([link.name], len(link.runs))
            bears.add_metric([link.name], link.bears or 0)
        yield from (streams, bears)
        yield GaugeMetricFamily(
            "stts_fleet_waiting_streams", "Streams for which no box has room", value=len(fleet.waiting)
        )
        yield CounterMetricFamily("stts_fleet_lost_boxes", "Boxes that were lost", value=fleet.lost)
        yield CounterMetricFamily("stts_fleet_moves", "Streams that another box took", value=fleet.moves)
