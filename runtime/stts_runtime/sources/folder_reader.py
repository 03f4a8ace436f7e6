"""A folder of pictures as a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.leftovers import own_files
from stts_runtime.natural_order import natural_key
from stts_runtime.pictures import SUFFIXES, PictureError, read_picture

_SUFFIXES_SHOWN = 5


class FolderReader:
    """Pictures in the order in which people count: `2.png` before `10.png`. One that cannot be read keeps its place in
    time, and a note says why the first such one cannot.
    """

    def __init__(self, folder: Path, frames_per_second: float) -> None:
        """Raises `SourceError` for a folder that cannot be read or holds no picture."""
        if not frames_per_second > 0:
            raise SourceError(f"{folder}: frames per second must be above 0 and not {frames_per_second:g}")
        try:
            files = [path for path in own_files(folder) if path.is_file()]
        except OSError as error:
            raise SourceError(f"{folder} cannot be read: {error.strerror}") from None
        found = [path for path in files if path.suffix.lower() in SUFFIXES]
        if not found:
            raise SourceError(f"{folder} holds no picture; allowed are {', '.join(sorted(SUFFIXES))}{_seen(files)}")
        self._paths = sorted(found, key=lambda path: (natural_key(path.name), path.name))
        self.pts_seconds = np.arange(len(found)) / frames_per_second
        self.notes: list[str] = []

    def images(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        """Each of these numbers with its BGR image (H, W, 3) uint8; None for one that cannot be read."""
        for number in numbers.tolist():
            yield number, self._read(self._paths[number])

    def _read(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            return read_picture(path.read_bytes())
        except (OSError, PictureError) as error:
            if not self.notes:
                reason = error.strerror if isinstance(error, OSError) else error
                self.notes.append(f"{path.name}: {reason}")
            return None


def _seen(files: list[Path]) -> str:
    """A folder of a phone's pictures may hold nothing but HEIC."""
    suffixes = sorted({path.suffix.lower() for path in files if path.suffix})[:_SUFFIXES_SHOWN]
    return f"; it holds {', '.join(suffixes)}" if suffixes else ""
