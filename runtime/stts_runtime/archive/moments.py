"""Times as people write them for a search: `yesterday`, `2h`, `2026-11-28 14:30`. In this machine's zone unless they
name another; a day is its beginning, as journalctl has it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.settings import parse_seconds
from stts_runtime.text import shortened, visible

_AGO = re.compile(r"\d+(?:\.\d+)?(?:s|m|h|d)")
_HOUR = re.compile(r"\d{2}:\d{2}(?::\d{2})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{3}|\.\d{6})?)?(?:Z|[+-]\d{2}:\d{2})?)?")
_LONGEST = 40


def parse_moment(text: str, name: str) -> datetime:
    """With a zone. `name` says in the error where `text` stands. Raises `UserError` with what is allowed."""
    here = local_now()
    try:
        return _parsed(text.strip(), here)
    except (ValueError, OverflowError):
        raise UserError(
            f"{name} {shortened(visible(text), _LONGEST)!r} is not a time; it should be today, yesterday, now, "
            f"how long ago (90s, 5m, 2h, 3d), 14:30, 2026-11-28, '2026-11-28 14:30' ({zone(here)}), or with a zone: "
            "2026-11-28T14:30Z, 2026-11-28T14:30+01:00"
        ) from None


def _parsed(text: str, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    named = {"today": midnight, "yesterday": midnight - timedelta(days=1)}
    # Without a zone it is this machine's, with its summer time on that day: `astimezone`.
    if text in named:
        return named[text].astimezone()
    if text == "now":
        return now
    if _AGO.fullmatch(text):
        return now - timedelta(seconds=parse_seconds(text))
    if _HOUR.fullmatch(text):
        return datetime.fromisoformat(f"{midnight:%Y-%m-%d}T{text}").astimezone()
    if _DATE.fullmatch(text):
        # Python 3.10 does not read Z.
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    raise ValueError


def local_now() -> datetime:
    return clock.wall().astimezone()


def zone(moment: datetime) -> str:
    """`UTC+01:00 (CET)`."""
    offset, name = moment.strftime("%z"), moment.strftime("%Z")
    words = f"UTC{offset[:3]}:{offset[3:5]}" if offset.strip("+0") else "UTC"
    return words if name in ("", "UTC", words) else f"{words} ({name})"
