"""Pictures of what was kept and scored, as JPEG. Called from threads of the server, never from the pipeline's."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_runtime import overlay
from stts_runtime.overlay import Image, dimmed

View = Literal["kept", "scores", "plain"]
Size = Literal["small", "large"]

_WIDTHS: dict[Size, int] = {"small": 320, "large": 960}
"""Pixels at the most; smaller pictures stay as they are."""

_QUALITY = 80
_PICTURE_SHARE = 0.45
"""Of the picture itself under the colours of its scores."""


def live_jpeg(image: Image, kept: NDArray[np.bool_], scores: NDArray[np.float32], view: View, size: Size) -> bytes:
    """A BGR picture (H, W, 3) with its dropped groups dark, under its scores in colours, or as it is.

    `kept` and `scores` are (G,), G a square, row by row. Scores are shown from the picture's lowest to its highest.
    """
    small = shrunk(image, _WIDTHS[size])
    if view == "kept":
        small = dimmed(small, kept)
    elif view == "scores":
        small = _scored(small, scores)
    return jpeg(small)


def shrunk(image: Image, width: int) -> Image:
    height, wide = image.shape[:2]
    if wide <= width:
        return image
    size = width, max(1, round(height * width / wide))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def jpeg(image: Image) -> bytes:
    return overlay.jpeg(image, _QUALITY)


def _scored(image: Image, scores: NDArray[np.float32]) -> Image:
    side = math.isqrt(scores.size)
    spread = max(float(np.ptp(scores)), 1e-6)
    levels = ((scores - scores.min()) / spread * 255).astype(np.uint8).reshape(side, side)
    height, width = image.shape[:2]
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)
    spread_out = cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
    blended: Image = cv2.addWeighted(image, _PICTURE_SHARE, spread_out, 1 - _PICTURE_SHARE, 0).astype(np.uint8)
    return blended
