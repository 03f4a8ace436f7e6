"""Times as people write them, in a zone with summer time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from stts_runtime import clock
from stts_runtime.archive.moments import local_now, parse_moment, zone
from stts_runtime.errors import UserError


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """At half past noon on the day after summer time ended."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    monkeypatch.setattr(clock, "wall", lambda: datetime(2026, 10, 26, 11, 30, tzinfo=timezone.utc))
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("now", "2026-10-26T11:30"),
        ("today", "2026-10-25T23:00"),
        ("yesterday", "2026-10-24T22:00"),
        ("2h", "2026-10-26T09:30"),
        ("1.5h", "2026-10-26T10:00"),
        ("90s", "2026-10-26T11:28:30"),
        ("3d", "2026-10-23T11:30"),
        ("06:15", "2026-10-26T05:15"),
        (" 2026-10-20 ", "2026-10-19T22:00"),
        ("2026-10-26 08:00", "2026-10-26T07:00"),
        ("2026-10-20T08:00:05", "2026-10-20T06:00:05"),
        ("2026-10-20T08:00Z", "2026-10-20T08:00"),
        ("2026-10-20T08:00:00.250-05:00", "2026-10-20T13:00:00.250"),
    ],
)
def test_a_time_means_a_moment(text: str, utc: str) -> None:
    assert parse_moment(text, "--since") == datetime.fromisoformat(f"{utc}+00:00")


@pytest.mark.parametrize(
    "text",
    ["", "yesterdy", "2", "-2h", "2 h", "2w", "2026-13-01", "2026-1-1", "25:00", "08:00Z", "2026-10-20T8", "0001-01-01",
     "9999-12-31T23:59-14:00", "9" * 400 + "d", "\x1b[31m", "today 08:00"],
)  # fmt: skip
def test_what_is_no_time_is_said_in_one_line(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^--since '.*' is not a time; it should be today, .* \(UTC\+01:00 \(CET\)\)"
    ) as said:
        parse_moment(text, "--since")
    assert str(said.value).isprintable()
    assert len(str(said.value)) < 300


def test_a_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zone(local_now()) == "UTC+01:00 (CET)"
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    assert zone(local_now()) == "UTC"
    monkeypatch.setenv("TZ", "<-0330>3:30")
    time.tzset()
    assert zone(local_now()) == "UTC-03:30 (-0330)"
