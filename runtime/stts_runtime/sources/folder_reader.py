"""A folder of pictures as a video."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from stts_runtime.errors import SourceError
from stts_runtime.pictures import SUFFIXES, PictureError, read_picture
from stts_runtime.sources.faults import Ended
from stts_runtime.sources.picture import Picture

_SUFFIXES_SHOWN = 5


class FolderReader:
    """Pictures in the order in which people count: `2.png` before `10.png`. One that cannot be read is dropped and
    keeps its place in time; a folder of which none can be read says why.
    """

    def __init__(self, folder: Path, frames_per_second: float) -> None:
        if not frames_per_second > 0:
            raise SourceError(f"{folder}: frames per second must be above 0 and not {frames_per_second:g}")
        self.corrupt = 0
        self.nominal_step_seconds = 1 / frames_per_second
        self._folder = folder
        self._pictures: Iterator[tuple[int, Path]] = iter(())
        self._count = 0
        self._first_problem = ""

    def open(self) -> None:
        try:
            files = [path for path in self._folder.iterdir() if path.is_file()]
        except OSError as error:
            raise SourceError(f"{self._folder} cannot be read: {error.strerror}") from None
        found = [path for path in files if path.suffix.lower() in SUFFIXES]
        if not found:
            raise SourceError(
                f"{self._folder} holds no picture; allowed are {', '.join(sorted(SUFFIXES))}{_seen(files)}"
            )
        self._pictures = enumerate(sorted(found, key=lambda path: (natural_key(path.name), path.name)))
        self._count = len(found)

    def read(self) -> Picture | None:
        number, path = next(self._pictures, (0, None))
        if path is None:
            if self.corrupt == self._count:
                raise SourceError(f"none of its {self._count} pictures can be read; {self._first_problem}")
            raise Ended("all pictures were read")
        arrived = time.monotonic()
        try:
            bgr = read_picture(path.read_bytes())
        except (OSError, PictureError) as error:
            self.corrupt += 1
            reason = error.strerror if isinstance(error, OSError) else error
            self._first_problem = self._first_problem or f"{path.name}: {reason}"
            return None
        return Picture(number * self.nominal_step_seconds, arrived, lambda: bgr, lambda: bgr)

    def close(self) -> None:
        self._pictures = iter(())


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts runs of digits by their value, and before letters."""
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part.lower()) for part in parts]


def _seen(files: list[Path]) -> str:
    """A folder of a phone's pictures may hold nothing but HEIC."""
    suffixes = sorted({path.suffix.lower() for path in files if path.suffix})[:_SUFFIXES_SHOWN]
    return f"; it holds {', '.join(suffixes)}" if suffixes else ""
