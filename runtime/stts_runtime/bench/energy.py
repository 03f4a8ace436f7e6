"""Energy of an answer: the same answer again and again, one variant alone, for long enough to be measured.

Answers of the timed rounds are too short and too mixed for that: power is sampled every tenth of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stts_runtime.power import PowerMeter

_ENERGY_SECONDS = 2.0


@dataclass(frozen=True)
class AnswerEnergy:
    """What one answer took, on average."""

    joules: float | None = None
    """None if the meter failed, or if there is none."""
    throttled: list[str] = field(default_factory=list)


def energy_of(
    meter: PowerMeter,
    answer: Callable[[], object],
    seconds: float = _ENERGY_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> AnswerEnergy:
    """Answers for at least this many seconds, and at least once."""
    # Not measured: clocks rise when work begins, and NVML may call a change of clocks a slowdown.
    answer()
    answers = 0
    with meter.interval() as reading:
        end = clock() + seconds
        while answers == 0 or clock() < end:
            answer()
            answers += 1
    return AnswerEnergy(None if reading.joules is None else reading.joules / answers, reading.throttled)
