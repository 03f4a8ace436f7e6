"""Pauses between attempts to connect."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double, each drawn evenly from zero to its limit: many streams of one server, which lost it at the
    same moment, must not come back at the same moment.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._limit = first_seconds
        self._random = random.Random()  # noqa: S311 - no secret

    def next(self) -> float:
        """Seconds to wait now."""
        limit, self._limit = self._limit, min(2 * self._limit, self._longest)
        return self._random.uniform(0, limit)

    def reset(self) -> None:
        self._limit = self._first
