"""The application: routes, schema, guard. It holds no state of its own; see `run.py` for what it is made of."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from stts_runtime.serve.alert_routes import alert_routes
from stts_runtime.serve.api_errors import handle_errors
from stts_runtime.serve.chat import chat_routes
from stts_runtime.serve.guard import PUBLIC, Guard
from stts_runtime.serve.health import ServerMetrics, health_routes
from stts_runtime.serve.page_routes import PICTURE, page_routes
from stts_runtime.serve.parts import Parts
from stts_runtime.serve.reload_route import reload_routes
from stts_runtime.serve.search_routes import search_routes
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.stream.reload import Reloader
from stts_runtime.tell import Tell


def make_app(
    parts: Parts, settings: ServerSettings, token: str | None, tell: Tell, reloader: Reloader | None = None
) -> ASGIApp:
    """`token` is what requests must show; None lets everybody in who reaches the address."""
    app = make_api(parts, settings, token, tell, reloader)
    counted = ServerMetrics(parts.metrics, parts.queue, parts.hub.events, parts.worker.cache)
    return Guard(app, settings, token, counted.requests, tell)


def make_api(
    parts: Parts, settings: ServerSettings, token: str | None, tell: Tell, reloader: Reloader | None = None
) -> FastAPI:
    """The routes and their schema, with nothing before them."""
    # FastAPI's own pages of the schema load their scripts from elsewhere.
    app = FastAPI(title="stts-runtime serve", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    handle_errors(app, tell)
    app.include_router(page_routes(parts.state, parts.hub, parts.answers, settings))
    app.include_router(alert_routes(parts.alert_file))
    app.include_router(chat_routes(parts.models, parts.answers, parts.uploads, parts.readers, settings))
    app.include_router(search_routes(parts.archives))
    app.include_router(health_routes(parts.queue, parts.metrics))
    app.include_router(reload_routes(reloader))
    schema = _schema(app, parts, needs_token=token is not None)
    if settings.base_path:
        schema["servers"] = [{"url": settings.base_path}]
    app.openapi = lambda: schema  # type: ignore[method-assign]
    return app


def _schema(app: FastAPI, parts: Parts, *, needs_token: bool) -> dict[str, Any]:
    """FastAPI's, with the names that there are, and less the status for invalid requests that this server never gives:
    it is 400 here, as at OpenAI.
    """
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if needs_token and path not in PUBLIC:
                operation["security"] = [{"token": []}]
    records = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        records.pop(name, None)
    records["ChatRequest"]["properties"]["model"]["enum"] = list(parts.models)
    if parts.hub.streams:
        schema["paths"][PICTURE]["get"]["parameters"][0]["schema"]["enum"] = list(parts.hub.streams)
        records["AskRequest"]["properties"]["stream"]["anyOf"][0]["enum"] = list(parts.hub.streams)
    if needs_token:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return schema
