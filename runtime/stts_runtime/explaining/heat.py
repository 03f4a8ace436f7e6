"""A heat map of scores over a clip: bright is important, a light line goes around what was kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_runtime.outputs import check_place, written_whole
from stts_runtime.overlay import Image, caption, kept_caption, shown_frame, tiled
from stts_runtime.video import Window

SUFFIXES = (".png", ".jpg", ".jpeg")

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a region, in shares of the picture."""

_HEAT = 0.55
"""Share of the heat colour in each pixel; the rest is the frame in grey."""
_LINE = (255, 255, 255)
_DARK = (16, 16, 16)
_REGION = (255, 255, 0)
_SCALE_WIDTH, _SCALE_HEIGHT = 160, 12
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 88)


def heat_sheet(
    window: Window,
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    regions: Sequence[tuple[Box, Sequence[int]]],
    variant: str,
) -> Image:
    """BGR: all frames in rows. `scores` and `kept` are (T, G); each region comes with the frames it is drawn in."""
    low, high = float(scores[1:].min()), float(scores[1:].max())
    levels = (scores - low) / (high - low) if high > low else np.full_like(scores, 0.5)
    frames = []
    for number in range(len(scores)):
        # What the scorer says of the first frame decides nothing.
        level = None if number == 0 else levels[number].clip(0, 1)
        picture = _frame(shown_frame(window, number), level, kept[number])
        for box, shown in regions:
            if number in shown:
                _draw_region(picture, box)
        frames.append(np.vstack([kept_caption(picture.shape[1], window, kept, number), picture]))
    whole = tiled(frames)
    title = f"{variant}: {kept.sum()} of {kept.size} groups kept, outlined; frame 1 is kept whole"
    return np.vstack([caption(whole.shape[1], [title]), _scale(whole.shape[1], low, high), whole])


def write_heat(path: Path, picture: Image) -> None:
    """Writes a BGR picture, .png or .jpg. Raises `UserError`."""
    check_place(path, SUFFIXES)
    suffix = path.suffix.lower()
    content = cv2.imencode(suffix, picture, [] if suffix == ".png" else _QUALITY)[1].tobytes()
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


def _frame(frame: Image, level: NDArray[np.float32] | None, kept: NDArray[np.bool_]) -> Image:
    """`level` (G,) is 0 to 1; without it the frame has its own colours."""
    if level is None:
        return frame
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    heat = _coloured(_enlarged(level * 255, grey))
    mixed = cv2.addWeighted(heat, _HEAT, grey, 1 - _HEAT, 0)
    return _outlined(mixed.astype(np.uint8), _enlarged(kept, grey))


def _enlarged(groups: NDArray[np.generic], frame: Image) -> NDArray[np.uint8]:
    """One value a pixel of `frame`; `groups` is (G,), 0 to 255."""
    side = math.isqrt(groups.size)
    height, width = frame.shape[:2]
    square = groups.reshape(side, side).astype(np.uint8)
    return cv2.resize(square, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def _coloured(levels: NDArray[np.uint8]) -> Image:
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO).astype(np.uint8)


def _outlined(picture: Image, kept: NDArray[np.uint8]) -> Image:
    outlines, _ = cv2.findContours(kept, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(picture, outlines, -1, _LINE, 1).astype(np.uint8)


def _draw_region(picture: Image, box: Box) -> None:
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    start = round(left * (width - 1)), round(top * (height - 1))
    end = round(right * (width - 1)), round(bottom * (height - 1))
    cv2.rectangle(picture, start, end, _DARK, 4)
    cv2.rectangle(picture, start, end, _REGION, 2)


def _scale(width: int, low: float, high: float) -> Image:
    """Which colour stands for which score."""
    strip = caption(width, [f"score {low:.3g}"])
    bar = np.tile(np.linspace(0, 255, _SCALE_WIDTH).astype(np.uint8), (_SCALE_HEIGHT, 1))
    start = min(110, max(0, width - _SCALE_WIDTH))
    end = min(start + _SCALE_WIDTH, width)
    strip[5 : 5 + _SCALE_HEIGHT, start:end] = _coloured(bar)[:, : end - start]
    cv2.putText(strip, f"{high:.3g}", (end + 8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return strip
