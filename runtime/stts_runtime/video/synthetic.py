"""A made-up window, for machines without a video at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_runtime.video.window import Window


def synthetic_window(frames: int, size: int) -> Window:
    """A grey texture over which a bright square moves."""
    texture: NDArray[np.uint8] = np.random.default_rng(0).integers(90, 140, (size, size, 3), dtype=np.uint8)
    pixels = np.repeat(texture[None], frames, axis=0)
    side = size // 6
    for number in range(frames):
        left = (size - side) * number // max(frames - 1, 1)
        pixels[number, size // 3 : size // 3 + side, left : left + side] = (240, 60, 60)
    seconds = (frames - 1) / 2
    return Window("synthetic clip", seconds, np.linspace(0, seconds, frames), pixels, 1.0)
