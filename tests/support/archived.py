"""Records for an archive, with a time and a text of one's own."""

from __future__ import annotations

from typing import Any

from stts_runtime.archive.entry import Entry, moment

BEGIN = 1_790_000_000_000
"""Milliseconds since 1970: 2026-09-21 14:13:20 UTC."""


def record_of(answer: str, second: float = 0, stream: str = "gate", **rest: Any) -> dict[str, Any]:
    """Said so many seconds after `BEGIN`."""
    created = moment(BEGIN + round(second * 1000)).isoformat(timespec="milliseconds")
    return {
        "schema_name": "stts.stream-answer/1",
        "stream": stream,
        "created": created,
        "question": "What happens?",
        "answer": answer,
        **rest,
    }


def entry_of(answer: str, second: float = 0, stream: str = "gate", **rest: Any) -> Entry:
    return Entry.of(record_of(answer, second, stream, **rest))
