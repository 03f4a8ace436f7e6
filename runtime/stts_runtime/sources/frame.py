"""A frame as a source hands it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """`image` is BGR (H, W, 3) uint8, of the source's size, which may change on the way."""

    image: NDArray[np.uint8]
    seconds: float
    """On the source's own time line: 0 at its first frame, never backward, going on over reconnections."""
    captured: float
    """When it was taken, on the clock of `time.monotonic`; where the source does not tell, when it arrived."""
