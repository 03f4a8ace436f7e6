"""A decoded picture before anybody wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Picture:
    pts_seconds: float | None
    """What the stream says; None where it says nothing."""
    arrived: float
    """On the clock of `time.monotonic`, before decoding."""
    image: Callable[[], NDArray[np.uint8]]
    """Converts to BGR (H, W, 3) uint8: only pictures that are taken pay for it."""
    brightness: Callable[[], NDArray[Any]]
    """Values of the whole picture that cost no conversion; equal for equal pictures."""
