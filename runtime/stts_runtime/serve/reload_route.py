"""`POST /api/reload`: the configuration is read again, as on SIGHUP."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Literal, Protocol

import anyio
from fastapi import APIRouter
from pydantic import BaseModel

from stts_runtime.serve.api_errors import ApiError, refusals


class Asked(Protocol):
    def ask(self) -> Future[str]:
        """As `Reloader.ask`."""
        ...


class Reloaded(BaseModel):
    status: Literal["ok"] = "ok"
    streams: str
    """What became of them."""


def reload_routes(reloader: Asked | None) -> APIRouter:
    """None where there is no file to read again."""
    router = APIRouter(tags=["page"])

    @router.post("/api/reload", responses=refusals(400, 401, 409))
    async def reload() -> Reloaded:
        """Reads the configuration file again. Streams that did not change go on; what is wrong is refused whole."""
        if reloader is None:
            raise ApiError(409, "the server was started without --config, or without streams: there is nothing to read")
        line = await anyio.to_thread.run_sync(reloader.ask().result, abandon_on_cancel=True)
        if line.startswith("error: "):
            raise ApiError(400, line.removeprefix("error: "))
        return Reloaded(streams=line.removeprefix("reloaded: "))

    return router
