"""A frame as the vision tower wants it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def squashed(frame_bgr: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """BGR (H, W, 3) uint8 of any size -> RGB (size, size, 3) uint8, bilinear without antialiasing.

    In float32 and rounded half to even, as the reference does it; OpenCV's own uint8 path differs in an eighth of the
    values.
    """
    resized = cv2.resize(frame_bgr.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.rint(resized[..., ::-1]).clip(0, 255).astype(np.uint8)
