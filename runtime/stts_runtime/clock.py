"""What time it is, on the two clocks that there are: one to count by, and one to write down.

Nothing of the runtime counts by the wall clock: an operator, NTP or a battery that ran out may set it by hours. The
clock to count by is that of the boot where the system has one, since `time.monotonic` stands still on Linux while the
machine is suspended, and a window would then hold pictures of two days as if they were neighbours.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)
LOOK_SECONDS = 1.0
"""Waiting goes by a clock that may stand still; so often it is asked whether the other went on."""


def now() -> float:
    """Seconds that never jump and continue while the machine sleeps; they count from the boot."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


def wall() -> datetime:
    """The time in UTC, as records have it. Nothing may be counted by it."""
    return datetime.now(timezone.utc)


def wait(event: threading.Event, seconds: float) -> bool:
    """Until `event` is set or `seconds` are over, also if the machine slept meanwhile; whether it is set."""
    end = now() + seconds
    while (left := end - now()) > 0:
        if event.wait(min(left, LOOK_SECONDS)):
            return True
    return event.is_set()
