"""A clip as a video file, for whatever reads files."""

from __future__ import annotations

from pathlib import Path

import cv2

from stts_calib.clips.clip import Clip
from stts_calib.clips.scene import DURATION_SECONDS
from stts_runtime.errors import UserError
from stts_runtime.outputs import check_folder, written_whole


def write_video(path: Path, clip: Clip, size: int, frames_per_second: int = 10) -> None:
    """Writes an MP4 of `size` x `size` pixels. Raises `UserError` if it cannot be written."""
    check_folder(path)
    count = round(DURATION_SECONDS * frames_per_second)
    with written_whole(path) as scratch:
        writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, (size, size))
        if not writer.isOpened():
            raise UserError(f"{path} cannot be written as a video; give it the ending .mp4")
        try:
            for number in range(count):
                picture = clip.pictures([number / frames_per_second], size)[0]
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
