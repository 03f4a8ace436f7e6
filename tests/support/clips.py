"""Synthetic clips: every pixel's brightness says which frame it belongs to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def level(number: int) -> int:
    """Brightness of frame `number`."""
    return 20 + 10 * (number % 24)


def write_clip(path: Path, frames: int, fps: float, size: tuple[int, int] = (96, 64), codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), level(number), dtype=np.uint8))
    writer.release()
    return path
