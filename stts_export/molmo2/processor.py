"""The video processor's settings: frames a second, and patches of a group.

Which frames that makes is said in `stts_runtime/video/window.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stts_export.errors import CheckpointError
from stts_export.json_files import Section, read_json, read_optional_json
from stts_export.molmo2.image_tokens import ImageTokens

VIDEO_PROCESSOR = "video_preprocessor_config.json"
PROCESSOR = "processor_config.json"
OF_PROCESSOR = (VIDEO_PROCESSOR, PROCESSOR, "preprocessor_config.json")
MAX_FPS = 2
"""Frame rate of the released models."""


class VideoProcessor(Section):
    """What is read of the settings."""

    pooling_size: tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]] = (3, 3)
    max_fps: Annotated[float, Field(gt=0, le=1000)] = MAX_FPS
    num_frames: Annotated[int, Field(ge=1)] | None = None
    """The most that were trained with. How many a bundle takes is for who builds it to say."""

    @property
    def pool(self) -> int:
        """Patches a side of a group. Raises `CheckpointError` if groups are not square."""
        height, width = self.pooling_size
        if height != width:
            raise CheckpointError(
                f"the video processor pools {height}x{width} patches; only square windows are supported"
            )
        return height


class Processor(ImageTokens):
    """`processor_config.json`, in which newer checkpoints keep the video processor too."""

    video_processor: VideoProcessor = VideoProcessor()


def read_processor(folder: Path) -> VideoProcessor:
    """Reads the processor of either generation of checkpoints; defaults where there is no file.

    Raises `CheckpointError` if a file is wrong, or says that this is another model than Molmo2.
    """
    processor = read_optional_json(folder / PROCESSOR, Processor)
    processor.check(str(folder / PROCESSOR))
    if (folder / VIDEO_PROCESSOR).exists():
        return read_json(folder / VIDEO_PROCESSOR, VideoProcessor)
    return processor.video_processor


def processor_json(pool: int, max_fps: float, num_frames: int | None = None) -> dict[str, Any]:
    """The settings as a file."""
    settings = {"pooling_size": [pool, pool], "max_fps": max_fps}
    return settings if num_frames is None else {**settings, "num_frames": num_frames}
