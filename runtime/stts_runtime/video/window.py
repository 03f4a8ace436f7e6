"""A window: the frames that one prompt is about, and which moments of a video they show.

Source of the moments: Molmo2's `uniform_last_frame` rule: two frames a second and always the last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.text import counted
from stts_runtime.video.clock import Times
from stts_runtime.video.file_source import VideoFile
from stts_runtime.video.pixels import BgrConverter, resize_to_square

_HALF_MS = 0.0005
"""Times that are written down are rounded."""


def rule_count(duration_seconds: float, max_fps: float) -> int:
    """Frames that the rule takes when nothing bounds it: 0, 1/max_fps, ... below the duration, and the duration."""
    return math.ceil(round(duration_seconds * max_fps, 9)) + 1


def sample_times(duration_seconds: float, max_fps: float, frames: int) -> Times:
    """Times in seconds, (frames,): the rule's own where it takes just as many, else evenly from start to end."""
    if frames == rule_count(duration_seconds, max_fps):
        return np.append(np.arange(frames - 1) / max_fps, duration_seconds)
    return np.linspace(0, duration_seconds, frames)


def shown_at(times_seconds: Times, pts_seconds: Times) -> NDArray[np.int64]:
    """Numbers of the frames on screen at `times_seconds`: the last whose timestamp is not later (by half a ms)."""
    return np.searchsorted(pts_seconds, times_seconds + _HALF_MS, side="right").clip(min=1) - 1


def due_frames(pts_seconds: Times, frames_per_second: float) -> NDArray[np.int64]:
    """Numbers of the frames that are looked at if a look is due so many times a second: the first, and each time the
    first that is not before the next moment.
    """
    numbers, due = [0], float(pts_seconds[0])
    while True:
        due = max(due + 1 / frames_per_second, float(pts_seconds[numbers[-1]]))
        number = max(int(np.searchsorted(pts_seconds, due)), numbers[-1] + 1)
        if number >= len(pts_seconds):
            return np.array(numbers)
        numbers.append(number)


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
    height: int | None = None
    """Height of the source's frames as displayed, in pixels; None: that of these frames."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the source's frames as they are shown, in pixels."""
        height = self.frames.shape[1] if self.height is None else self.height
        return round(height * self.aspect), height


def window_of_file(
    video: VideoFile, frames: int, max_fps: float, size: int, part: tuple[float, float] | None = None
) -> Window:
    """Samples `frames` frames of the whole file, or from one second to another, which is then time zero.

    Raises `SourceError` if there are fewer, or none decodes.
    """
    start, end = (0.0, video.duration_seconds) if part is None else _part(video, *part)
    first, behind = np.searchsorted(video.pts_seconds, [start - _HALF_MS, end + _HALF_MS])
    if frames > (there := video.frames if part is None else int(behind - first)):
        held = counted(there, "frame")
        where = "" if part is None else f" from {start:g} to {end:g} s"
        raise SourceError(f"{video.name} holds {held}{where}, fewer than the {frames} that are asked for")
    times = sample_times(end - start, max_fps, frames)
    pixels: list[NDArray[np.uint8]] = []
    aspect, height, missing, replaced, convert = 1.0, 0, 0, 0, BgrConverter()
    for picture in video.pictures(shown_at(times + start, video.pts_seconds)):
        if picture.frame is None:
            missing += 1
            continue
        replaced += missing + int(not picture.is_exact)
        # Before the first that decodes there is nothing that could stand in.
        image = convert(picture.frame)
        pixels += [resize_to_square(image, size)] * (missing + 1)
        height = image.shape[0]
        aspect, missing = convert.aspect(picture.frame, video.pixel_aspect), 0
    if missing:
        raise SourceError(f"{video.name}: none of the {frames} frames that are wanted can be decoded")
    notes = (f"{replaced} of {frames} frames did not decode; those before them stand in",) if replaced else ()
    return Window(video.name, end - start, times, np.stack(pixels), aspect, notes, height)


def _part(video: VideoFile, start: float, end: float) -> tuple[float, float]:
    """As much of it as there is."""
    if not 0 <= start < min(end, video.duration_seconds):
        raise SourceError(
            f"{video.name} lasts {video.duration_seconds:g} s, and holds nothing from {start:g} to {end:g} s"
        )
    return start, min(end, video.duration_seconds)


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
