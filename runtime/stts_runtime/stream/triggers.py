"""When a stream is asked about: by time and by novelty; and which of its frames are kept whole."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stts_runtime.errors import UserError
from stts_runtime.settings import Settings

_RULE = re.compile(r"\s*novelty\s*>\s*(\d+(?:\.\d+)?|\.\d+)\s*")


class When(Settings):
    """An answer is due when the novelty of a frame is above `novelty`, in 0..1."""

    novelty: float = Field(ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        if isinstance(given, When):
            return given
        found = _RULE.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise ValueError("it should be novelty>NUMBER, with a number from 0 to 1: novelty>0.3")
        return {"novelty": float(found[1])}


@dataclass(frozen=True)
class KeyRule:
    """One every so many frames, and one behind a jump of novelty, so that what is new is seen whole.

    Two are never nearer than `at_least` frames: more would not fit the language model.
    """

    every: int
    at_least: int
    jump: float = 0.5
    """Novelty of a frame above which the next is a key frame."""

    def is_key(self, since_key: int | None, last_novelty: float) -> bool:
        """`since_key` counts the frames from the last key frame to this one; None before the first."""
        if since_key is None or since_key >= self.every:
            return True
        return since_key >= self.at_least and last_novelty > self.jump


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
