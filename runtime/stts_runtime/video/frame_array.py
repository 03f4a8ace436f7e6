"""Frames that a program has already: an array in place of a file, sampled by the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stts_runtime.errors import SourceError
from stts_runtime.video.clock import Times
from stts_runtime.video.pixels import resize_to_square
from stts_runtime.video.window import Window, sample_times, shown_at


class FrameArray:
    """RGB frames (T, H, W, 3) uint8 of any size, with the properties of a `VideoFile` that sampling needs."""

    name = "frames"
    notes: Sequence[str] = ()

    def __init__(self, frames: NDArray[Any], max_fps: float, times_seconds: ArrayLike | None = None) -> None:
        """`times_seconds` (T,) ascend, and only their differences count; None: `max_fps` frames a second.

        Raises `SourceError` for anything else.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise SourceError(
                f"frames should be RGB, an array (T, H, W, 3) of uint8, got {frames.shape} of {frames.dtype}"
            )
        self._frames = frames
        count = len(frames)
        self.pts_seconds: Times = np.arange(count) / max_fps if times_seconds is None else _times(times_seconds, count)
        self.duration_seconds = float(self.pts_seconds[-1])

    @property
    def frames(self) -> int:
        return len(self._frames)

    def window(self, frames: int, max_fps: float, size: int) -> Window:
        """Samples `frames` of them, as `window_of_file` does. Raises `SourceError` if there are fewer."""
        if frames > self.frames:
            raise SourceError(f"{self.frames} frames were given, fewer than the {frames} that are asked for")
        times = sample_times(self.duration_seconds, max_fps, frames)
        pixels = [
            resize_to_square(self._frames[number][..., ::-1], size) for number in shown_at(times, self.pts_seconds)
        ]
        height, width = self._frames.shape[1:3]
        return Window(self.name, self.duration_seconds, times, np.stack(pixels), width / height, height=height)


def _times(given: ArrayLike, count: int) -> Times:
    """From the first frame on."""
    try:
        times = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise SourceError(f"times should be {count} numbers of seconds, one a frame") from None
    if times.shape != (count,):
        raise SourceError(f"times should be {count} numbers of seconds, one a frame, got {times.shape}")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise SourceError("times should be seconds that ascend from frame to frame")
    since_first: Times = times - times[0]
    return since_first
