"""The picture of an alarm inside its record, in base64, for sinks that ask for it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from stts_runtime.records import Record, StreamAnswer


def with_snapshot(record: Record) -> Record:
    """As it is where it has no picture, or one that is no longer there."""
    if not isinstance(record, StreamAnswer) or record.alert is None or record.alert.snapshot is None:
        return record
    try:
        picture = base64.b64encode(Path(record.alert.snapshot.path).read_bytes()).decode()
    except OSError:
        return record
    snapshot = record.alert.snapshot.model_copy(update={"jpeg": picture})
    return record.model_copy(update={"alert": record.alert.model_copy(update={"snapshot": snapshot})})


def snapshot_apart(body: bytes) -> tuple[bytes, str, bytes | None]:
    """The record without its picture, the name of its stream, and the picture."""
    record: dict[str, Any] = json.loads(body)
    snapshot = (record.get("alert") or {}).get("snapshot") or {}
    picture = snapshot.pop("jpeg", None)
    if picture is None:
        return body, record["stream"], None
    # As pydantic writes it.
    plain = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return plain, record["stream"], base64.b64decode(picture)
