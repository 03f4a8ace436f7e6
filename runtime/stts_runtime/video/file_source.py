"""Video files through OpenCV: timestamps first, then the frames that are asked for. It knows no sampling rule."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.opencv import cv2
from stts_runtime.sources.redaction import redacted
from stts_runtime.video.sampling import Times

_WHOLE_SHARE = 0.95


def check_source(source: str) -> None:
    """Raises `SourceError` unless `source` names a file that is there."""
    try:
        source.encode()
    except UnicodeEncodeError:
        raise SourceError(f"the file name {source!r} is not valid UTF-8; rename the file") from None
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", source):
        raise SourceError(f"{redacted(source)} is no file: cameras and streams are for `stts-runtime stream`")
    if Path(source).is_dir():
        raise SourceError(f"{source} is a folder: folders of pictures are for `stts-runtime stream`")
    if not Path(source).is_file():
        raise SourceError(f"no such file: {source}")


@dataclass(frozen=True)
class Most:
    """What a file may hold at most."""

    frames: float = math.inf
    seconds: float = math.inf
    pixels: float = math.inf
    """Of one frame, width x height."""
    work_seconds: float = math.inf
    """For decoding it once."""


class VideoFile:
    """A video file whose frames have been counted and timed once.

    `notes` says what is wrong with a file that can be used all the same. Raises `SourceError` if there is no such
    file, or it cannot be decoded, holds no frame, or more than `most`.
    """

    def __init__(self, source: str, most: Most | None = None, name: str | None = None) -> None:
        """`name` stands for the file in messages and answers, in place of its path."""
        check_source(source)
        self.name = name or source
        # An absolute path: FFmpeg takes what stands before a colon for a protocol.
        self._path = Path(source).absolute()
        with self._opened() as capture:
            self.pts_seconds, self.duration_seconds = _timeline(_Bounded(capture, most or Most(), self.name))
            declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not len(self.pts_seconds):
            raise SourceError(f"{self.name} holds no frame that can be decoded")
        self.notes: list[str] = []
        if self.frames < _WHOLE_SHARE * declared:
            self.notes.append(f"only {self.frames} of {declared} frames could be decoded: the file is damaged or cut")

    @property
    def frames(self) -> int:
        return len(self.pts_seconds)

    def read(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """BGR frames (H, W, 3) uint8 with these numbers, which ascend and may repeat."""
        with self._opened() as capture:
            current, frame = -1, None
            for number in numbers:
                while current < number:
                    if not capture.grab():
                        raise SourceError(f"{self.name} broke off at frame {current + 1} on the second reading")
                    current, frame = current + 1, None
                if frame is None:
                    _, frame = capture.retrieve()
                if frame is None:
                    raise SourceError(f"{self.name}: frame {current} cannot be decoded")
                yield frame.astype(np.uint8, copy=False)

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise SourceError(f"{self.name} cannot be opened as a video; ffprobe may say more about it")
            yield capture
        finally:
            capture.release()


class _Bounded:
    """A capture that raises `SourceError` beyond what is allowed."""

    def __init__(self, capture: cv2.VideoCapture, most: Most, name: str) -> None:
        self._capture, self._most, self._name = capture, most, name
        self._frames, self._first_ms = 0, 0.0
        self._deadline = time.monotonic() + most.work_seconds
        width, height = int(self.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > most.pixels:
            raise SourceError(f"{name} has frames of {width} x {height} pixels, and {most.pixels:,} are allowed")

    def get(self, what: int) -> float:
        return float(self._capture.get(what))

    def grab(self) -> bool:
        if not self._capture.grab():
            return False
        self._frames += 1
        now_ms, most = self.get(cv2.CAP_PROP_POS_MSEC), self._most
        self._first_ms = now_ms if self._frames == 1 else self._first_ms
        if self._frames > most.frames:
            self._refuse(f"holds more than the {most.frames:,} frames that are allowed")
        if now_ms - self._first_ms > most.seconds * 1000:
            self._refuse(f"is longer than the {most.seconds:g} s that are allowed")
        if time.monotonic() > self._deadline:
            self._refuse(f"takes more than {most.work_seconds:g} s to decode")
        return True

    def _refuse(self, why: str) -> None:
        raise SourceError(f"{self._name} {why}; send a shorter one")


def _timeline(capture: cv2.VideoCapture | _Bounded) -> tuple[Times, float]:
    """Every frame's timestamp from the first one's on, and the end of the last frame, in seconds."""
    stamps = []
    while capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    pts = np.array(stamps, dtype=np.float64)
    nominal = 1 / fps if (fps := capture.get(cv2.CAP_PROP_FPS)) > 0 else 0.04
    if len(pts) < 2:
        return np.zeros(len(pts)), nominal * len(pts)
    gaps = np.diff(pts)
    if (gaps <= 0).sum() > len(gaps) / 2:
        # Containers without usable timestamps: all that is left is the nominal rate.
        return np.arange(len(pts), dtype=np.float64) * nominal, len(pts) * nominal
    # A repeated or backward timestamp now and then: the frame counts as shown with the one before it.
    pts = np.maximum.accumulate(pts - pts[0])
    return pts, float(pts[-1] + np.median(gaps[gaps > 0]))
