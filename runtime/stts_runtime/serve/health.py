"""`/healthz`, `/readyz` and `/metrics`: for whoever keeps the server running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.serve.api_errors import ApiError, refusals
from stts_runtime.serve.engine_queue import EngineQueue
from stts_runtime.serve.events import EventBroker
from stts_runtime.serve.look_cache import KINDS, LookCache
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.tell import UNRESPONSIVE_SECONDS


class ServerMetrics:
    """Thread-safe; labels come from the schema alone, never from what a request says."""

    def __init__(self, metrics: StreamMetrics, queue: EngineQueue, broker: EventBroker, cache: LookCache) -> None:
        registry = metrics.registry
        self.requests = requests_counter(registry)
        open_questions = Gauge("stts_open_questions", "Questions that wait or are being answered", registry=registry)
        open_questions.set_function(lambda: queue.open)
        clients = Gauge("stts_event_clients", "Clients that follow the events", registry=registry)
        clients.set_function(lambda: broker.clients)
        registry.register(_CacheMetrics(cache))


class _CacheMetrics(Collector):
    """Asked at every scrape."""

    def __init__(self, cache: LookCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        cache = self._cache
        size = GaugeMetricFamily("stts_cache_bytes", "Memory of frames and visual tokens that are kept")
        size.add_metric([], cache.size_bytes)
        entries = GaugeMetricFamily("stts_cache_entries", "Windows of frames and sets of visual tokens that are kept")
        entries.add_metric([], len(cache))
        looked_up = CounterMetricFamily(
            "stts_cache_lookups", "Frames and visual tokens that questions needed", labels=["kind", "result"]
        )
        for kind in KINDS:
            looked_up.add_metric([kind, "hit"], cache.hits[kind])
            looked_up.add_metric([kind, "miss"], cache.misses[kind])
        yield from (size, entries, looked_up)


def requests_counter(registry: CollectorRegistry) -> Counter:
    return Counter(
        "stts_http_requests", "Requests answered, by route and status", ["route", "status"], registry=registry
    )


class Rounds(Protocol):
    """Who goes round, as `EngineQueue` tells it."""

    last_round: float


class Told(Protocol):
    def text(self) -> str:
        """As `StreamMetrics.text`."""
        ...


class Health(BaseModel):
    status: Literal["ok"] = "ok"


def health_routes(queue: Rounds, metrics: Told) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=refusals())
    async def healthz() -> Health:
        """Whether the process answers at all. Never needs a token."""
        return Health()

    @router.get("/readyz", responses=refusals())
    async def readyz() -> Health:
        """Whether the engines' thread moves. Never needs a token."""
        pause = clock.now() - queue.last_round
        if pause > UNRESPONSIVE_SECONDS:
            raise ApiError(503, f"the engines' thread has not come by for {pause:.0f} s", retry=10)
        return Health()

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **refusals(401)})
    def prometheus() -> Response:
        """Prometheus metrics of the streams, the questions and the requests."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
