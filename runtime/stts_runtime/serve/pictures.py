"""Pictures of what was kept and scored, as JPEG. Called from threads of the server, never from the pipeline's."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_runtime import overlay
from stts_runtime.overlay import Image

View = Literal["kept", "scores", "plain"]
Size = Literal["small", "large"]

_WIDTHS: dict[Size, int] = {"small": 480, "large": 1280}
"""Pixels at the most; smaller pictures stay as they are."""

_QUALITY = 80
_PICTURE_SHARE = 0.45
"""Of the picture itself under the colours of its scores."""
_VEIL_GREY, _VEIL_SHARE = 128, 0.22
"""What lies over dropped groups, and how much of the colourless picture it hides."""
_EDGE_SHARE = 0.5
"""Of white in the line between kept and dropped groups."""


def live_jpeg(image: Image, kept: NDArray[np.bool_], scores: NDArray[np.float32], view: View, size: Size) -> bytes:
    """A BGR picture (H, W, 3) with a veil over its dropped groups, under its scores in colours, or as it is.

    `kept` and `scores` are (G,), G a square, row by row. Scores are shown from the picture's lowest to its highest.
    """
    small = shrunk(image, _WIDTHS[size])
    if view == "kept":
        small = _veiled(small, kept)
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


def _veiled(image: Image, kept: NDArray[np.bool_]) -> Image:
    """Dropped groups lose their colour and some contrast, and a thin line goes around them: what was there can still be
    seen, in bright and dark pictures.
    """
    if kept.all():
        return image
    side = math.isqrt(kept.size)
    height, width = image.shape[:2]
    bright = cv2.resize(kept.reshape(side, side).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    veil = cv2.addWeighted(grey, 1 - _VEIL_SHARE, np.full_like(grey, _VEIL_GREY), _VEIL_SHARE, 0)
    veiled: Image = np.where(bright[..., None] > 0, image, veil[..., None])
    edge = cv2.morphologyEx(bright, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    veiled[edge] = (veiled[edge] * (1 - _EDGE_SHARE) + 255 * _EDGE_SHARE).astype(np.uint8)
    return veiled


def _scored(image: Image, scores: NDArray[np.float32]) -> Image:
    side = math.isqrt(scores.size)
    spread = max(float(np.ptp(scores)), 1e-6)
    levels = ((scores - scores.min()) / spread * 255).astype(np.uint8).reshape(side, side)
    height, width = image.shape[:2]
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)
    spread_out = cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
    blended: Image = cv2.addWeighted(image, _PICTURE_SHARE, spread_out, 1 - _PICTURE_SHARE, 0).astype(np.uint8)
    return blended
