"""The metrics of all boxes in one text, each sample with its box, and those of the fleet itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from stts_runtime.extras import stream_extra
from stts_runtime.fleet.cluster import Cluster, Failed
from stts_runtime.fleet.fleet import Fleet
from stts_runtime.fleet.series import BOX, OfTheFleet
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.status_server import Reply, StatusServer

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import Metric
    from prometheus_client.parser import text_string_to_metric_families
    from prometheus_client.registry import Collector

_SECONDS = 3.0


class FleetMetrics:
    """Every box is asked at every scrape; one that does not answer in time is left out."""

    def __init__(self, fleet: Fleet, cluster: Cluster, own: StreamMetrics) -> None:
        """`own` are those of this process: its sinks, requests and memory."""
        self._fleet, self._cluster, self._own = fleet, cluster, own
        own.registry.register(OfTheFleet(fleet))

    def text(self) -> str:
        calls = [(link.name, link.actor.metrics.remote()) for link in self._fleet.ready]
        told = {name: self._cluster.result(call, _SECONDS) for name, call in calls}
        return merged(self._own.text(), {name: text for name, text in told.items() if not isinstance(text, Failed)})


def merged(own: str, boxes: Mapping[str, str]) -> str:
    """Texts as Prometheus reads them, as one: each family once, and samples of boxes with a label `box`."""
    families: dict[str, Metric] = {}
    for box, text in [("", own), *boxes.items()]:
        for family in text_string_to_metric_families(text):
            into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = {**sample.labels, BOX: box} if box else sample.labels
                into.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(_Given([one for one in families.values() if one.samples]))
    return generate_latest(registry).decode()


@contextmanager
def metrics_served(config: Cameras, metrics: FleetMetrics) -> Iterator[None]:
    """At the address of `metrics:` too, if the configuration gives one."""
    if config.metrics is None:
        yield
        return

    def scraped() -> Reply:
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.text()

    with StatusServer(config.metrics.address, config.metrics.port, {"/metrics": scraped}):
        yield


class _Given(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
