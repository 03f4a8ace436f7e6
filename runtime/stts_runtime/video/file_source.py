"""Video files: indexed once without decoding, then asked for single pictures. It knows no sampling rule."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from numpy.typing import NDArray

from stts_runtime.errors import SourceError
from stts_runtime.handed_over import check_is_content
from stts_runtime.paths import check_path, is_camera, local_path
from stts_runtime.places import check_file
from stts_runtime.text import redacted
from stts_runtime.video.clock import Times
from stts_runtime.video.decoding import Decoder, Picture, has_nvdec
from stts_runtime.video.packet_reader import PacketReader
from stts_runtime.video.pixels import BgrConverter
from stts_runtime.video.recording import read_recording


def check_source(source: str) -> str:
    """The path of the recording that `source`, a path or a file:// URL, names. Raises `SourceError` for anything else,
    or what is not there or may not be read.
    """
    path = local_path(source)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        raise SourceError(f"{redacted(source)} is not a file: cameras and streams are for `stts-runtime stream`")
    if is_camera(path):
        raise SourceError(f"{source} is a camera: cameras and streams are for `stts-runtime stream`")
    check_path(path)
    if Path(path).is_dir():
        raise SourceError(f"{source} is a folder: folders of pictures are for `stts-runtime stream`")
    check_file(Path(path), SourceError, "a video file")
    check_is_content(Path(path), SourceError)
    return path


@dataclass(frozen=True)
class Most:
    """What a file may hold at most."""

    frames: float = math.inf
    seconds: float = math.inf
    pixels: float = math.inf
    """Largest number of pixels of a frame, width x height."""
    work_seconds: float = math.inf
    """For indexing it, and for decoding what is wanted of it."""


class VideoFile:
    """A recording whose pictures have been counted and timed.

    `notes` says what is wrong with a file that can be used all the same. Thread-safe: each reading stands for itself.
    """

    def __init__(
        self,
        source: str,
        most: Most | None = None,
        name: str | None = None,
        nvdec: bool = False,
        is_url: bool = False,
    ) -> None:
        """`source` is a path, or with `is_url` an http(s) URL, which is read twice: to index and to decode it. `name`
        stands for it in messages and answers. `nvdec` decodes on the GPU what it can.

        Raises `SourceError` if there is no such file, or it holds no picture that can be decoded, or more than `most`.
        """
        self.name = name or redacted(source)
        self._most = most or Most()
        # An absolute path: FFmpeg takes what stands before a colon for a protocol.
        self._place = source if is_url else str(Path(check_source(source)).absolute())
        self._hardware = HWAccel("cuda", allow_software_fallback=True) if nvdec and has_nvdec() else None
        self._recording = read_recording(self._place, self.name, partial(self._check_count, self._deadline()))
        self._check_pixels(self._recording.width, self._recording.height)
        self.pts_seconds: Times = self._recording.clock.seconds
        self.duration_seconds = self._recording.clock.duration_seconds
        if self.duration_seconds > self._most.seconds:
            self._refuse(f"is longer than the {self._most.seconds:g} s that are allowed")
        self.notes = list(self._recording.notes)

    @property
    def frames(self) -> int:
        return len(self.pts_seconds)

    def pictures(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Picture]:
        """A picture for each of these numbers, which ascend and may repeat, in order, as they are decoded."""
        recording, tick = self._recording, partial(self._check_time, self._deadline())
        try:
            with PacketReader(self._place, recording.stream, recording.shown.packets, self._hardware) as reader:
                for picture in Decoder(reader, recording.shown, tick).pictures([int(one) for one in numbers]):
                    if picture.frame is not None:
                        self._check_pixels(picture.frame.width, picture.frame.height)
                    yield picture
        except (av.FFmpegError, LookupError):
            raise SourceError(
                f"{self.name} can no longer be read as it was: it has changed since it was opened"
            ) from None

    def images(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        """Each of these numbers with its BGR image (H, W, 3) uint8; None for one that does not decode."""
        convert = BgrConverter()
        for picture in self.pictures(numbers):
            frame = picture.frame if picture.is_exact else None
            yield picture.number, None if frame is None else convert(frame)

    @property
    def pixel_aspect(self) -> float:
        """Width over height of one pixel."""
        return self._recording.pixel_aspect

    def _deadline(self) -> float:
        return time.monotonic() + self._most.work_seconds

    def _check_count(self, deadline: float, frames: int) -> None:
        if frames > self._most.frames:
            self._refuse(f"holds more than the {self._most.frames:,} frames that are allowed")
        self._check_time(deadline)

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            self._refuse(f"takes more than {self._most.work_seconds:g} s to read")

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._most.pixels:
            allowed = f"{self._most.pixels:,} are allowed"
            raise SourceError(f"{self.name} has frames of {width} x {height} pixels, and {allowed}")

    def _refuse(self, why: str) -> None:
        raise SourceError(f"{self.name} {why}; send a shorter one")
