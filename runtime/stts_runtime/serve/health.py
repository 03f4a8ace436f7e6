"""`/healthz`, `/readyz` and `/metrics`: for whoever keeps the server running."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from stts_runtime.serve.desk import Desk
from stts_runtime.serve.problems import Problem
from stts_runtime.serve.refusals import refusals
from stts_runtime.sinks.metrics import StreamMetrics

_STUCK_SECONDS = 60.0
"""Without a round of the pipeline. One question about a long clip may take a while on a slow machine."""


class Health(BaseModel):
    status: Literal["ok"] = "ok"


def health_routes(desk: Desk, metrics: StreamMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=refusals())
    async def healthz() -> Health:
        """Whether the process answers at all. Never needs a token."""
        return Health()

    @router.get("/readyz", responses=refusals())
    async def readyz() -> Health:
        """Whether the engines' thread moves. Never needs a token."""
        pause = time.monotonic() - desk.last_round
        if pause > _STUCK_SECONDS:
            raise Problem(503, f"the engines' thread has not come by for {pause:.0f} s", retry=10)
        return Health()

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **refusals(401)})
    def prometheus() -> Response:
        """Prometheus metrics of the streams, the questions and the requests."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
