"""A video file played as a camera would send it, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stts_runtime import clock
from stts_runtime.errors import SourceError
from stts_runtime.sources.faults import Refused
from stts_runtime.sources.source import Picture
from stts_runtime.video.decoding import Picture as DecodedPicture
from stts_runtime.video.file_source import VideoFile
from stts_runtime.video.pixels import BgrConverter, first_plane


class LoopReader:
    def __init__(self, path: Path, nvdec: bool) -> None:
        self.corrupt = 0
        self._path, self._nvdec = path, nvdec
        self._video: VideoFile | None = None
        self._pictures: Iterator[DecodedPicture] = iter(())
        self._convert = BgrConverter()
        self._began = 0.0
        """When the round began, on the clock of `clock.now`."""

    def open(self) -> None:
        try:
            self._video = VideoFile(str(self._path), nvdec=self._nvdec)
        except SourceError as error:
            raise Refused(str(error)) from None
        self._pictures = self._video.pictures(range(self._video.frames))
        self._began = clock.now()

    def read(self) -> Picture | None:
        """As any reader's, at the picture's moment; its time is that of its arrival, which does not jump back."""
        assert self._video is not None
        picture = next(self._pictures, None)
        if picture is None:
            self._pictures = self._video.pictures(range(self._video.frames))
            self._began += self._video.duration_seconds
            return None
        moment = self._began + float(self._video.pts_seconds[picture.number])
        time.sleep(max(0.0, moment - clock.now()))
        if picture.frame is None or not picture.is_exact:
            self.corrupt += 1
            return None
        image, brightness = partial(self._convert, picture.frame), partial(first_plane, picture.frame)
        return Picture(None, clock.now(), image, brightness)

    def close(self) -> None:
        # What is left of it holds the file open.
        self._pictures = iter(())
