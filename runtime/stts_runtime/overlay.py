"""Pictures of what was kept: dropped groups are dimmed, every frame says its time and its count, and what an answer
points to is marked.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stts_runtime.marks import marked
from stts_runtime.outputs import check_place, written_whole
from stts_runtime.point_records import PointRecord
from stts_runtime.video import Window

Image = NDArray[np.uint8]

SUFFIXES = (".png", ".mp4")
_HEIGHT = 240
_MAX_WIDTH = 960
_CAPTION_HEIGHT = 22
_DIMMED = 0.22
_FRAMES_PER_SECOND = 2
_BITS_PER_SECOND = 4_000_000
_GAP = 4
_DARK = (24, 24, 24)


def write_overlay(
    path: Path, window: Window, kept: NDArray[np.bool_], variant: str, points: Sequence[PointRecord] = ()
) -> None:
    """Writes a sheet of all frames (.png) or a slide show at two frames a second (.mp4).

    `kept` is (T, G), `variant` what kept it, in words; `points` are those of answers about the window. Raises
    `UserError` if `path` is no place for one of them.
    """
    check_place(path, SUFFIXES)
    title = f"{variant}: {kept.sum()} of {kept.size} groups kept"
    if path.suffix.lower() == ".png":
        frames = sheet(window, kept, points)
        content = cv2.imencode(".png", np.vstack([caption(frames.shape[1], [title]), frames]))[1].tobytes()
    else:
        content = _video(list(_frames(window, kept, points)))
    # Neither OpenCV nor its FFmpeg would say that the disk is full.
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


def in_words(variant: str, *, trained: bool) -> str:
    """What kept groups, for the title."""
    return variant if trained else f"{variant}, without a trained scorer"


def dimmed(image: Image, kept: NDArray[np.bool_]) -> Image:
    """A BGR picture (H, W, 3) with its dropped groups dark; `kept` is (G,), G a square, row by row."""
    side = math.isqrt(kept.size)
    height, width = image.shape[:2]
    bright = cv2.resize(kept.reshape(side, side).astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return (image * (_DIMMED + (1 - _DIMMED) * bright[..., None])).astype(np.uint8)


def caption(width: int, lines: Sequence[str]) -> Image:
    """A dark strip of that width with one line of text under the other. Signs that are not ASCII come out as `?`."""
    strip = np.full((_CAPTION_HEIGHT * len(lines), width, 3), 24, dtype=np.uint8)
    for row, line in enumerate(lines):
        place = (6, 16 + row * _CAPTION_HEIGHT)
        cv2.putText(strip, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return strip


def shown_frame(window: Window, number: int) -> Image:
    """BGR, in the source's proportions."""
    width = min(_MAX_WIDTH, max(2, round(_HEIGHT * window.aspect / 2) * 2))
    pixels = window.frames[number][..., ::-1]
    shown: Image = cv2.resize(pixels, (width, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return shown


def kept_caption(width: int, window: Window, kept: NDArray[np.bool_], number: int) -> Image:
    """The moment of a frame and how many of its groups were kept; `kept` is (T, G)."""
    text = f"{window.times_seconds[number]:.1f} s  {int(kept[number].sum())}/{kept[number].size}"
    return caption(width, [text])


def jpeg(image: Image, quality: int) -> bytes:
    """Encodes a BGR picture as JPEG; `quality` is from 0 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def tiled(frames: Sequence[Image]) -> Image:
    """Pictures of one size in rows, about as many as columns."""
    padded = [cv2.copyMakeBorder(one, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=_DARK) for one in frames]
    columns = math.ceil(math.sqrt(len(padded)))
    padded += [np.full_like(padded[0], 24)] * (-len(padded) % columns)
    return np.vstack([np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)])


def _frames(window: Window, kept: NDArray[np.bool_], points: Sequence[PointRecord] = ()) -> Iterator[Image]:
    """BGR pictures with a caption strip, in the source's proportions."""
    for number, row in enumerate(kept):
        frame = marked(dimmed(shown_frame(window, number), row), points, number)
        yield np.vstack([kept_caption(frame.shape[1], window, kept, number), frame])


def sheet(window: Window, kept: NDArray[np.bool_], points: Sequence[PointRecord] = ()) -> Image:
    """All frames of a window in rows, with their dropped groups dark and `points` marked; `kept` is (T, G)."""
    return tiled(list(_frames(window, kept, points)))


class Pictured:
    """Something that knows a window, what was kept of it, and the variant that looked at it, in words."""

    def _looked_at(self) -> tuple[Window, NDArray[np.bool_], str]:
        raise NotImplementedError

    def _pointed_at(self) -> Sequence[PointRecord]:
        """What to mark."""
        raise NotImplementedError

    def picture(self) -> Image:
        """All frames with their dropped patches dark and points marked, RGB (H, W, 3) uint8.

        Raises `UserError` for an answer that was read from a file, which has no frames.
        """
        window, kept, _ = self._looked_at()
        return np.ascontiguousarray(sheet(window, kept, self._pointed_at())[..., ::-1])

    def write_picture(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture (.png), or a slide show of the frames (.mp4).

        Raises `UserError` for other names, and as `picture` does.
        """
        write_overlay(Path(path), *self._looked_at(), self._pointed_at())


def _video(frames: list[Image]) -> bytes:
    """An MP4 of BGR pictures of one size, whose sides are even."""
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=_FRAMES_PER_SECOND)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", _BITS_PER_SECOND
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        file.mux(stream.encode(None))
    return content.getvalue()
