"""Frames to run the modules on: a window of a video, or made-up frames."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_export.graphs.example_frames import example_frames
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_runtime.video import VideoFile, window_of_file

MADE_UP = "made-up frames"


class Frames(NamedTuple):
    """RGB frames (T, H, W, 3) uint8 of the model's size, and the seconds that the prompt says."""

    pixels: NDArray[np.uint8]
    times_seconds: list[float]


def frames_from(video: Path | None, vision: Vision, budget: TokenBudget, max_fps: float) -> Frames:
    """As the runtime samples the video for this budget; without one, made-up ones, one a second."""
    made_up = example_frames(vision, budget.frames)
    if video is None:
        return Frames(made_up, [float(second) for second in range(budget.frames)])
    window = window_of_file(VideoFile(str(video)), budget.frames, max_fps, made_up.shape[1])
    return Frames(window.frames, window.times_seconds.tolist())
