"""Pictures and clips of alarms, for whoever may ask this server anything. It hands out what was written here alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from stts_runtime.serve.api_errors import ApiError, refusals
from stts_runtime.serve.page_routes import StreamName

ALERTS = "/api/alerts"
"""Before STREAM/NAME."""
_KINDS = {".jpg": "image/jpeg", ".mp4": "video/mp4"}

FileName = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(jpg|mp4)$", max_length=128)]


def alert_routes(find: Callable[[str, str], Path | None]) -> APIRouter:
    """`find` is `AlertStore.find`."""
    router = APIRouter()

    @router.get(
        ALERTS + "/{stream}/{name}",
        tags=["page"],
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in _KINDS.values()}}, **refusals(400, 401, 404)},
    )
    async def alert_file(stream: StreamName, name: FileName) -> Response:
        """The picture or clip of an alarm, as records name it (`url`), whole or a range of it."""
        path = await anyio.to_thread.run_sync(find, stream, name)
        if path is None:
            raise ApiError(404, f"there is no {name} of {stream}; it may be older than what is kept")
        return FileResponse(path, media_type=_KINDS[path.suffix])

    return router
