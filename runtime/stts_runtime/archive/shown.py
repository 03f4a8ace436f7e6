"""A record that was found, as a line for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from stts_runtime.text import visible


def found_line(record: Mapping[str, Any]) -> str:
    """One line without control characters: when (in this machine's zone), where, what was said, and what was asked."""
    when = datetime.fromisoformat(record["created"].replace("Z", "+00:00")).astimezone()
    place = " ".join(str(record[name]) for name in ("site", "host", "stream") if record.get(name))
    asked = f"  ({record['question']})" if record.get("question") else ""
    linked = "".join(f"  {link}" for link in links(record))
    said = " ".join(_said(record).split())
    return visible(f"{when:%Y-%m-%d %H:%M:%S}  {place}  {said}{asked}{linked}")


def _said(record: Mapping[str, Any]) -> str:
    if "state" in record:
        return f"{record['state']}: {record.get('reason', '')}"
    said, alert = str(record.get("answer") or record.get("reason") or ""), record.get("alert")
    if isinstance(alert, dict) and alert.get("change"):
        return f"alarm {alert.get('number')} {alert['change']}: {alert.get('rule')}, {said}"
    return said


def links(record: Mapping[str, Any]) -> Iterator[str]:
    """To the pictures and clips of a record: where they can be fetched, or else where they lie."""
    for holder in (record, record.get("alert")):
        for part in holder.values() if isinstance(holder, Mapping) else ():
            if isinstance(part, Mapping) and isinstance(part.get("path"), str):
                yield str(part.get("url") or part["path"])
