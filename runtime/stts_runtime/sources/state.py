"""What a source is doing, in words that people and alarms can rely on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    """Connected, and for too long no new picture came."""
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    """A file was read to its end, or somebody closed the source."""
    REFUSED = "refused"
    """It cannot work until somebody changes something: a wrong password, a codec that nobody decodes."""


@dataclass(frozen=True)
class Status:
    """A state, why, and since when on the clock of `time.monotonic`. `reason` is one line without credentials."""

    state: State
    reason: str
    since: float

    @property
    def over(self) -> bool:
        """No frame will come any more."""
        return self.state in (State.ENDED, State.REFUSED)
