"""A folder of images as a video."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stts_runtime.errors import SourceError
from stts_runtime.opencv import cv2
from stts_runtime.sources.faults import Ended
from stts_runtime.sources.picture import Picture

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


class FolderReader:
    """Images in the order in which people count: `2.png` before `10.png`. One that cannot be decoded is dropped and
    keeps its place in time.
    """

    def __init__(self, folder: Path, frames_per_second: float) -> None:
        if not frames_per_second > 0:
            raise SourceError(f"{folder}: frames per second must be above 0 and not {frames_per_second:g}")
        self.corrupt = 0
        self.nominal_step_seconds = 1 / frames_per_second
        self._folder = folder
        self._images: Iterator[tuple[int, Path]] = iter(())

    def open(self) -> None:
        try:
            found = [path for path in self._folder.iterdir() if path.suffix.lower() in _SUFFIXES]
        except OSError as error:
            raise SourceError(f"{self._folder} cannot be read: {error.strerror}") from None
        if not found:
            raise SourceError(f"{self._folder} holds no image; allowed are {', '.join(sorted(_SUFFIXES))}")
        self._images = enumerate(sorted(found, key=lambda path: (natural_key(path.name), path.name)))

    def read(self) -> Picture | None:
        number, path = next(self._images, (0, None))
        if path is None:
            raise Ended("all images were read")
        arrived = time.monotonic()
        image = _decoded(path)
        if image is None:
            self.corrupt += 1
            return None
        bgr = image.astype(np.uint8, copy=False)
        return Picture(number * self.nominal_step_seconds, arrived, lambda: bgr, lambda: bgr)

    def close(self) -> None:
        self._images = iter(())


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts runs of digits by their value, and before letters."""
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part.lower()) for part in parts]


def _decoded(path: Path) -> cv2.typing.MatLike | None:
    # Not imread, which cannot open a name that is not in the locale's encoding.
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
