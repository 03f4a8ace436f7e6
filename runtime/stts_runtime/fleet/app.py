"""The fleet's application: the page, the state of all boxes, search, metrics. Plain FastAPI in the process that holds
the sinks: there is one of it anyway, and it has little to do, so that Ray Serve would spread what is not scarce.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.fleet import Fleet
from stts_runtime.fleet.metrics import FleetMetrics
from stts_runtime.fleet.reload import FleetReload
from stts_runtime.fleet.views import FleetAnswers, FleetHub, FleetRecord
from stts_runtime.serve.api_errors import handle_errors, refusals
from stts_runtime.serve.guard import Guard
from stts_runtime.serve.health import health_routes, requests_counter
from stts_runtime.serve.page_routes import StateRecord, page_routes
from stts_runtime.serve.parts import state_record
from stts_runtime.serve.reload_route import reload_routes
from stts_runtime.serve.search_routes import search_routes
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.tell import Tell


def make_fleet_app(
    config: FleetConfig,
    fleet: Fleet,
    hub: FleetHub,
    answers: FleetAnswers,
    own: StreamMetrics,
    metrics: FleetMetrics,
    reload: FleetReload,
    token: str | None,
    tell: Tell,
) -> ASGIApp:
    """`token` as for `make_app`. Neither clips nor OpenAI's API are offered: `serve` is for those."""
    app = FastAPI(title="stts-runtime fleet", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    handle_errors(app, tell)

    def state() -> StateRecord:
        return state_record(reload.bundle, config.serve.limits, hub.records(), searches=bool(config.archives))

    app.include_router(page_routes(state, hub, answers, config.serve))
    app.include_router(search_routes(config.archives))
    app.include_router(health_routes(fleet, metrics))
    app.include_router(reload_routes(reload))
    app.include_router(_fleet_routes(hub.fleet))
    return Guard(app, config.serve, token, requests_counter(own.registry), tell)


def _fleet_routes(read: Callable[[], FleetRecord]) -> APIRouter:
    router = APIRouter(tags=["page"])

    @router.get("/api/fleet", responses=refusals(401))
    async def current() -> FleetRecord:
        """Which box looks at which streams, and which streams wait."""
        return read()

    return router
