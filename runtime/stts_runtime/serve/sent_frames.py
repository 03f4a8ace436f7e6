"""Several pictures in one message, as evaluation harnesses send a video: the frames of one clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.overlay import Image
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.looks import ReadLook
from stts_runtime.session import Clip, Wanted
from stts_runtime.video import FrameArray
from stts_runtime.video.pixels import resize_to_square


@dataclass(frozen=True)
class FrameSizes:
    """All must be of one size: pictures of different ones are no frames of one video."""

    width: int
    height: int

    def check(self, image: Image, number: int, param: str) -> None:
        height, width = image.shape[:2]
        if (width, height) != (self.width, self.height):
            raise ApiError(
                400,
                f"several pictures are the frames of one clip, and picture {number} is {width} x {height} where the "
                f"first is {self.width} x {self.height}; ask about different pictures one by one",
                param,
            )


def clip_of_frames(
    pictures: Iterable[Image], fps: float | None, bundle: Bundle, wanted: Wanted, param: str
) -> ReadLook:
    """BGR pictures (H, W, 3) in their order, each let go when it was read. `fps` None: as many a second as in training.

    Raises `BundleError` where no variant fits, `ApiError` 400 if they differ in size.
    """
    size, frames, sizes = bundle.manifest.vision.image_size, list[NDArray[np.uint8]](), None
    for number, image in enumerate(pictures, 1):
        sizes = sizes or FrameSizes(image.shape[1], image.shape[0])
        sizes.check(image, number, param)
        frames.append(resize_to_square(image, size))
    assert sizes is not None, "the request's reader saw to that"
    times = None if fps is None else np.arange(len(frames)) / fps
    clip = Clip.of(bundle, FrameArray(np.stack(frames), bundle.manifest.max_fps, times), wanted)
    window = replace(clip.window()[0], source="pictures", aspect=sizes.width / sizes.height, height=sizes.height)
    return ReadLook(window, clip.variant, [_note(len(frames), window.duration_seconds), *clip.notes])


def _note(count: int, seconds: float) -> str:
    return f"the {count} pictures are taken for the frames of one clip of {seconds:.1f} s"
