"""What a stream has behind it where another channel takes it up: its numbers go on, and so do its alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stts_runtime.record_parts import AlertRecord


@dataclass(frozen=True)
class Standing:
    answers: int = 0
    """How many were given; the number of the last."""
    alarms: Mapping[str, AlertRecord] = field(default_factory=dict)
    """The last word of each, by question."""


FRESH = Standing()
