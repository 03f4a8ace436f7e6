"""How new a frame is, by the scorer's own features, and when that is reason enough to ask the language model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import UserError

_SHARE = 9
"""A ninth of the picture: the smallest of what matters is larger than a group, and noise is everywhere a little."""


def novelty(change: NDArray[np.float32]) -> float:
    """Mean of the ninth of the groups that changed most, 0 to 1; a stream's first frame has 1."""
    count = math.ceil(len(change) / _SHARE)
    return float(np.sort(change)[-count:].mean())


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
