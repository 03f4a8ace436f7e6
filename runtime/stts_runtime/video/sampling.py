"""Which moments of a video are looked at.

Source: Molmo2's `uniform_last_frame` rule: two frames a second and always the last one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


def rule_count(duration_seconds: float, max_fps: float) -> int:
    """Frames that the rule takes when nothing bounds it: 0, 1/max_fps, ... below the duration, and the duration."""
    return math.ceil(round(duration_seconds * max_fps, 9)) + 1


def sample_times(duration_seconds: float, max_fps: float, frames: int) -> Times:
    """Times in seconds, (frames,): the rule's own where it takes just as many, else evenly from start to end."""
    if frames == rule_count(duration_seconds, max_fps):
        return np.append(np.arange(frames - 1) / max_fps, duration_seconds)
    return np.linspace(0, duration_seconds, frames)


def shown_at(times_seconds: Times, pts_seconds: Times) -> NDArray[np.int64]:
    """Numbers of the frames on screen at `times_seconds`: the last whose timestamp is not later (by half a ms)."""
    return np.searchsorted(pts_seconds, times_seconds + 0.0005, side="right").clip(min=1) - 1


def due_frames(pts_seconds: Times, frames_per_second: float) -> NDArray[np.int64]:
    """Numbers of the frames that are looked at if a look is due so many times a second: the first, and each time the
    first that is not before the next moment.
    """
    numbers, due = [0], float(pts_seconds[0])
    while True:
        due = max(due + 1 / frames_per_second, float(pts_seconds[numbers[-1]]))
        number = max(int(np.searchsorted(pts_seconds, due)), numbers[-1] + 1)
        if number >= len(pts_seconds):
            return np.array(numbers)
        numbers.append(number)
