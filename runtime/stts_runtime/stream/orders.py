"""What a stream is asked for: which questions, when, and in which form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stts_runtime.answering import FREE, AnswerForm
from stts_runtime.errors import UserError
from stts_runtime.records import by_the_clock
from stts_runtime.stream.alerts import AlertRule


@dataclass(frozen=True)
class Gate:
    """When the language model is asked. Without `above`, whenever the shortest pause is over."""

    above: float | None = None
    shortest_pause: float = 0.0
    """Seconds between two answers, however much happens."""
    longest_pause: float = math.inf
    """Seconds after which an answer comes though nothing happened."""

    def __post_init__(self) -> None:
        if not 0 <= self.shortest_pause <= self.longest_pause:
            raise UserError(
                f"the shortest pause ({self.shortest_pause:g} s) must be at least 0 and at most the longest "
                f"({self.longest_pause:g} s)"
            )

    def reason(self, newest: float, pause: float) -> str | None:
        """Why to ask now, with the highest novelty and the seconds since the last answer; None: not now."""
        if pause < self.shortest_pause:
            return None
        if self.above is None:
            return "no condition"
        if newest > self.above:
            return f"novelty {newest:.2f} > {self.above:g}"
        return f"nothing new for {pause:.1f} s" if pause >= self.longest_pause else None


@dataclass(frozen=True)
class Labels:
    """What records of a stream say of where they come from."""

    site: str | None = None
    host: str | None = None
    clock_times: bool = False
    """Whether the times of frames are told by the clock too."""

    def of_answer(self, captured: Sequence[float]) -> dict[str, Any]:
        """Fields of an answer about frames that were `captured` on the clock of `clock.now`."""
        times = {"clock_times": [by_the_clock(one) for one in captured]} if self.clock_times else {}
        return {**self.of_event(), **times}

    def of_event(self) -> dict[str, Any]:
        return {"site": self.site, "host": self.host}


@dataclass(frozen=True)
class Orders:
    """What a stream is asked for. Without questions it is looked at all the same."""

    questions: Sequence[str]
    gate: Gate
    max_tokens: int
    frames_per_second: float
    form: AnswerForm = FREE
    alert: AlertRule | None = None
    labels: Labels = Labels()
    deadline: float = math.inf
    """Seconds from the capture of the frame for which an answer is due; one that cannot begin by then is left out."""
