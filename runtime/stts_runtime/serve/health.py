"""`/healthz`, `/readyz` and `/metrics`: for whoever keeps the server running."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import Counter, Gauge
from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.serve.api_errors import ApiError, refusals
from stts_runtime.serve.engine_queue import EngineQueue
from stts_runtime.serve.events import EventBroker
from stts_runtime.stream.metrics import StreamMetrics


class ServerMetrics:
    """Thread-safe; labels come from the schema alone, never from what a request says."""

    def __init__(self, metrics: StreamMetrics, queue: EngineQueue, broker: EventBroker) -> None:
        registry = metrics.registry
        self.requests = Counter(
            "stts_http_requests", "Requests answered, by route and status", ["route", "status"], registry=registry
        )
        open_questions = Gauge("stts_open_questions", "Questions that wait or are being answered", registry=registry)
        open_questions.set_function(lambda: queue.open)
        clients = Gauge("stts_event_clients", "Clients that follow the events", registry=registry)
        clients.set_function(lambda: broker.clients)


_STUCK_SECONDS = 60.0
"""Without a round of the pipeline. One question about a long clip may take a while on a slow machine."""


class Health(BaseModel):
    status: Literal["ok"] = "ok"


def health_routes(queue: EngineQueue, metrics: StreamMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=refusals())
    async def healthz() -> Health:
        """Whether the process answers at all. Never needs a token."""
        return Health()

    @router.get("/readyz", responses=refusals())
    async def readyz() -> Health:
        """Whether the engines' thread moves. Never needs a token."""
        pause = clock.now() - queue.last_round
        if pause > _STUCK_SECONDS:
            raise ApiError(503, f"the engines' thread has not come by for {pause:.0f} s", retry=10)
        return Health()

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **refusals(401)})
    def prometheus() -> Response:
        """Prometheus metrics of the streams, the questions and the requests."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
