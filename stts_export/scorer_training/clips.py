"""The videos of a folder as windows to train on: recordings, or frames that were stored as .npz.

An .npz holds `frames`, RGB (T, S, S, 3) uint8 of the model's own size, and `times_seconds` (T,). Reading those needs no
video library.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError, UserError
from stts_runtime.inputs import expand_sources
from stts_runtime.leftovers import is_leftover
from stts_runtime.text import counted

STORED = ".npz"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""By the version of an array's file."""


class Pictures(NamedTuple):
    """A window: RGB (T, S, S, 3) uint8, and the seconds that the prompt gives."""

    frames: NDArray[np.uint8]
    times_seconds: list[float]


@dataclass(frozen=True)
class Footage:
    """A video that can be opened; `window` may still find that nothing of it decodes."""

    path: Path
    name: str
    """Within its folder."""
    frames: int
    """As many as a window of it may have."""

    def window(self, most: int, max_fps: float, size: int) -> Pictures:
        """At most this many frames over all of it. Raises `UserError` if it cannot be read."""
        count = min(self.frames, most)
        if self.path.suffix == STORED:
            return _stored_window(self.path, count, size)
        from stts_runtime.video import VideoFile, window_of_file

        window = window_of_file(VideoFile(str(self.path)), count, max_fps, size)
        return Pictures(window.frames, window.times_seconds.tolist())


class Problem(NamedTuple):
    """A video that is left out."""

    name: str
    why: str


def find_footage(folder: Path, least: int, max_fps: float, size: int) -> Iterator[Footage | Problem]:
    """What is in the folder and its subfolders, in the order of names, each usable or a problem.

    `least` frames are needed for a window. Raises `UserError` if the folder holds nothing of either kind.
    """
    recordings, problems = _recordings(folder)
    stored = [path for path in folder.rglob(f"*{STORED}") if not any(map(is_leftover, path.relative_to(folder).parts))]
    if not stored and not recordings:
        raise UserError("; ".join(one.why for one in problems))
    # That there is no recording is no problem where frames are stored.
    yield from (one for one in problems if one.name != str(folder))
    for path in sorted([*stored, *recordings]):
        name = path.relative_to(folder).as_posix()
        try:
            frames = _window_frames(path, max_fps, size)
        except UserError as error:
            yield Problem(name, str(error))
            continue
        if frames < least:
            yield Problem(name, f"a window of it has {counted(frames, 'frame')}, and this keep ratio needs {least}")
        else:
            yield Footage(path, name, frames)


def _recordings(folder: Path) -> tuple[list[Path], list[Problem]]:
    """Problems are folders that cannot be read, or the whole folder if it holds none."""
    found = expand_sources([str(folder)])
    problems = [Problem(one.name, str(one.problem)) for one in found if one.problem is not None]
    return [Path(one.name) for one in found if one.problem is None], problems


def _window_frames(path: Path, max_fps: float, size: int) -> int:
    """Raises `UserError` if the video cannot be opened."""
    if path.suffix == STORED:
        return len(_times(path, size))
    from stts_runtime.video import VideoFile, rule_count

    video = VideoFile(str(path))
    return min(rule_count(video.duration_seconds, max_fps), video.frames)


def _stored_window(path: Path, count: int, size: int) -> Pictures:
    times = _times(path, size)
    numbers = np.rint(np.linspace(0, len(times) - 1, count)).astype(int)
    with _opened(path) as content:
        return Pictures(content["frames"][numbers], times[numbers].tolist())


def _times(path: Path, size: int) -> NDArray[np.float64]:
    """Times of the stored frames, whose shape is checked without reading them."""
    with _opened(path) as content, zipfile.ZipFile(path) as files, files.open("frames.npy") as stream:
        times = np.asarray(content["times_seconds"], dtype=np.float64)
        header = _HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = header(stream)
    if shape != (len(times), size, size, 3) or dtype != np.uint8:
        raise SourceError(
            f"{path.name} holds frames {list(shape)} {dtype} and {len(times)} times; "
            f"this model takes [T, {size}, {size}, 3] uint8 and T times"
        )
    return times


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """Raises `SourceError` if it is no such file, or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            yield content
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise SourceError(f"{path.name} holds no frames and times_seconds, or is damaged") from None
