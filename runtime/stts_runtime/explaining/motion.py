"""What moves, told from pixels alone: a yardstick for the scorer that does not come from it.

A group moves if its pixels differ from the frame before by more than twice the clip's median group, and by more than
four of 255 levels on average. The median is what noise and a moving camera give everywhere; where the camera turns,
only what changes more than the ground counts.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_LEVELS = 4.0
_TIMES_MEDIAN = 2.0


def change_of_groups(frames: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """(T, G), 0 to 255: mean absolute difference of RGB frames (T, H, W, 3) to the frame before, by group of
    `side` x `side`; 0 in the first frame.
    """
    change = np.zeros((len(frames), side * side), dtype=np.float32)
    for number in range(1, len(frames)):
        difference = cv2.absdiff(frames[number], frames[number - 1]).mean(axis=2, dtype=np.float32)
        change[number] = cv2.resize(difference, (side, side), interpolation=cv2.INTER_AREA).reshape(-1)
    return change


def least_change(change: NDArray[np.float32]) -> float:
    """Above it, a group moves; in levels of 255."""
    return max(_LEAST_LEVELS, _TIMES_MEDIAN * float(np.median(change[1:])))
