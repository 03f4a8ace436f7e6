"""A folder of images as a video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.opencv import cv2

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


class FolderReader:
    """Images in the order in which people count: `2.png` before `10.png`. One that cannot be decoded keeps its place
    in time.
    """

    def __init__(self, folder: Path, frames_per_second: float) -> None:
        """Raises `SourceError` for a folder that cannot be read or holds no image."""
        if not frames_per_second > 0:
            raise SourceError(f"{folder}: frames per second must be above 0 and not {frames_per_second:g}")
        try:
            found = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES]
        except OSError as error:
            raise SourceError(f"{folder} cannot be read: {error.strerror}") from None
        if not found:
            raise SourceError(f"{folder} holds no image; allowed are {', '.join(sorted(_SUFFIXES))}")
        self._paths = sorted(found, key=lambda path: (natural_key(path.name), path.name))
        self.pts_seconds = np.arange(len(found)) / frames_per_second
        self.notes: list[str] = []

    def images(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        """Each of these numbers with its BGR image; None for one that cannot be decoded."""
        for number in numbers.tolist():
            image = _decoded(self._paths[number])
            yield number, None if image is None else image.astype(np.uint8, copy=False)


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
