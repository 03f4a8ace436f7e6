"""A window: the frames that one prompt is about."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.video.file_source import VideoFile
from stts_runtime.video.pixels import BgrConverter
from stts_runtime.video.sampling import Times, sample_times, shown_at


def squashed(frame_bgr: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """BGR (H, W, 3) uint8 of any size -> RGB (size, size, 3) uint8, bilinear without antialiasing.

    In float32 and rounded half to even, as the reference does it; OpenCV's own uint8 path differs in an eighth of the
    values.
    """
    resized = cv2.resize(frame_bgr.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.rint(resized[..., ::-1]).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Window:
    """T frames, RGB (T, size, size, 3) uint8, and the times that the prompt gives for them."""

    source: str
    duration_seconds: float
    times_seconds: Times
    frames: NDArray[np.uint8]
    aspect: float
    """Width over height of the source, which the square frames have lost."""
    notes: tuple[str, ...] = ()
    """What went wrong while they were read."""


def window_of_file(video: VideoFile, frames: int, max_fps: float, size: int) -> Window:
    """Samples `frames` frames of the whole file. Raises `SourceError` if the file holds fewer, or none decodes."""
    if frames > video.frames:
        held = "1 frame" if video.frames == 1 else f"{video.frames} frames"
        raise SourceError(f"{video.name} holds {held}, fewer than the {frames} that are asked for")
    times = sample_times(video.duration_seconds, max_fps, frames)
    pixels: list[NDArray[np.uint8]] = []
    aspect, missing, replaced, convert = 1.0, 0, 0, BgrConverter()
    for picture in video.pictures(shown_at(times, video.pts_seconds)):
        if picture.frame is None:
            missing += 1
            continue
        replaced += missing + int(not picture.is_exact)
        # Before the first that decodes there is nothing that could stand in.
        pixels += [squashed(convert(picture.frame), size)] * (missing + 1)
        aspect, missing = convert.aspect(picture.frame, video.pixel_aspect), 0
    if missing:
        raise SourceError(f"{video.name}: none of the {frames} frames that are wanted can be decoded")
    notes = (f"{replaced} of {frames} frames did not decode; those before them stand in",) if replaced else ()
    return Window(video.name, video.duration_seconds, times, np.stack(pixels), aspect, notes)


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
