"""Which frames of a stream are key frames, which keep every group."""

from __future__ import annotations

from dataclasses import dataclass


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
