"""A clip as a video file, for whatever reads files."""

from __future__ import annotations

from pathlib import Path

import cv2

from stts_calib.clips.clip import Clip
from stts_calib.clips.scene import DURATION_SECONDS
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_place, written_whole

_FRAMES_PER_SECOND = 10
_CHUNK = 30
"""Pictures made at a time."""


def write_video(path: Path, clip: Clip, size: int) -> None:
    """Writes an MP4 of `size` x `size` pixels. Raises `UserError` if it cannot be written."""
    check_place(path, (".mp4",))
    count = round(DURATION_SECONDS * _FRAMES_PER_SECOND)
    with written_whole(path) as scratch:
        writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter.fourcc(*"mp4v"), _FRAMES_PER_SECOND, (size, size))
        if not writer.isOpened():
            raise UserError(f"{path} cannot be written as a video")
        try:
            for start in range(0, count, _CHUNK):
                times = [number / _FRAMES_PER_SECOND for number in range(start, min(start + _CHUNK, count))]
                for picture in clip.pictures(times, size):
                    writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
        _check_whole(scratch, path, count)


def _check_whole(written: Path, path: Path, count: int) -> None:
    """OpenCV does not say that the disk is full: what it wrote is looked into. Raises `UserError`."""
    capture = cv2.VideoCapture(str(written))
    there = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if there != count:
        raise UserError(f"{path} cannot be written: {there} of its {count} frames are there; is the disk full?")
