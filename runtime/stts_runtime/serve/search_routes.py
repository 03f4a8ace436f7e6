"""`/api/search`: what was seen, from the archives that this server or another process writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from stts_runtime.archive.moments import local_now, parse_moment, zone
from stts_runtime.archive.reader import Found, Wanted, search, stream_names
from stts_runtime.errors import ArchiveError
from stts_runtime.serve.api_errors import ApiError, refusals
from stts_runtime.serve.thread_pool import ThreadPool

_SEARCHES = 2
"""At a time."""
_MOST_RECORDS = 500
_MOST_STREAMS = 500


class FoundRecord(BaseModel):
    number: int
    """Higher is newer. `before` takes that of the last to go on behind it."""
    record: dict[str, Any]
    """As it was written, less what it cost."""


class SearchReply(BaseModel):
    records: list[FoundRecord]
    """The newest first."""
    more: bool
    """Whether there are others behind them."""
    notes: list[str]
    """What could not be read."""
    streams: list[str]
    """All that were ever written."""
    zone: str
    """Of `since` and `until` where they name none: UTC+01:00 (CET)."""


Words = Annotated[str, Query(max_length=1000, description='words, "several words", -word, answer:word, question:word')]
Moment = Annotated[str | None, Query(max_length=40, description="yesterday, today, 2h, 14:30, 2026-11-28T14:30+01:00")]
Streams = Annotated[tuple[Annotated[str, Query(max_length=64)], ...], Query(max_length=_MOST_STREAMS)]
Limit = Annotated[int, Query(ge=1, le=_MOST_RECORDS)]
Before = Annotated[int | None, Query(ge=0, lt=1 << 62, description="the number of the last of an earlier search")]


def search_routes(archives: Sequence[Path]) -> APIRouter:
    router, searches = APIRouter(), ThreadPool(_SEARCHES)

    @router.get("/api/search", tags=["page"], responses=refusals(400, 401, 404))
    async def find(
        q: Words = "",
        since: Moment = None,
        until: Moment = None,
        stream: Streams = (),
        limit: Limit = 50,
        before: Before = None,
    ) -> SearchReply:
        """Records that hold all the words, the newest first."""
        if not archives:
            raise ApiError(404, "this server keeps no records to search: add FILE.db to `sinks`, or set serve.search")
        wanted = Wanted(q, _moment(since, "since"), _moment(until, "until"), stream, limit, before)
        return await searches.run(lambda: _reply(archives, wanted))

    return router


def _moment(text: str | None, name: str) -> Any:
    return parse_moment(text, name) if text else None


def _reply(archives: Sequence[Path], wanted: Wanted) -> SearchReply:
    try:
        results = search(archives, wanted)
        streams = sorted({name for path in archives for name in stream_names(path)})
    except ArchiveError as error:
        raise ApiError(503, str(error), retry=10) from None
    return SearchReply(
        records=[_record(one) for one in results.found],
        more=results.is_more,
        notes=results.notes,
        streams=streams[:_MOST_STREAMS],
        zone=zone(local_now()),
    )


def _record(one: Found) -> FoundRecord:
    return FoundRecord(number=one.number, record=one.record)
