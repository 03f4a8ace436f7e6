"""Readers of live streams behind a URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av

from stts_runtime import clock
from stts_runtime.errors import SourceError
from stts_runtime.sources.faults import Lost, Refused, Stalled
from stts_runtime.sources.pace import BurstWatch, Pace
from stts_runtime.sources.pyav_reader import PyAVReader, check_host
from stts_runtime.sources.snapshot import HINT, one_picture, sends_one_picture
from stts_runtime.sources.source import LiveSettings, Picture
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


_SEGMENTED = ("hls", "dash")
"""FFmpeg's names for streams that are published in segments of some seconds."""
_NO_TIMESTAMPS = 0x80
"""AVFMT_NOTIMESTAMPS of libavformat."""
_NAP_SECONDS = 0.1
"""`read` returns at least this often while a picture waits, since the reader may have been abandoned."""


class StreamReader(PyAVReader):
    """rtsp(s):// and http(s)://. Pictures that arrive in bursts are handed on at the pace of their stamps; what is not
    due yet stays with the server. Refuses what is no stream: a recording would rush by and start again, and so would
    one picture.
    """

    def __init__(self, url: str, settings: LiveSettings) -> None:
        self._url = url
        # Without a guess at the frame rate, for which FFmpeg would wait for twenty pictures.
        options = {"fpsprobesize": "0"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = settings.transport
        super().__init__(url, options, settings.open_seconds, settings.stall_seconds, settings.nvdec)
        self._pace: Pace | None = None
        self._bursts: BurstWatch | None = None
        self._waited = 0.0
        self._early: Picture | None = None
        self._due = 0.0

    def open(self) -> None:
        check_host(self._url)
        if self._url.lower().startswith("http"):
            self._open_http()
        else:
            super().open()
        if self._format.name in _SEGMENTED:
            self._pace = Pace()
        elif not _counts_stamps(self._format):
            self._bursts = BurstWatch()

    def read(self) -> Picture | None:
        """The next picture at its moment; None too while it waits for that."""
        picture = self._early or self._next()
        self._early = None
        if picture is not None and (early := self._due - clock.now()) > 0:
            self._early = picture
            time.sleep(min(early, _NAP_SECONDS))
            return None
        return picture

    @property
    def _format(self) -> av.ContainerFormat:
        assert self._container is not None
        return self._container.format

    def _open_http(self) -> None:
        began = clock.now()
        try:
            super().open()
        except Refused:
            raise
        except Lost:
            if sends_one_picture(self._url, self._open_seconds - (clock.now() - began)):
                raise one_picture() from None
            raise
        if self.duration_seconds is not None:
            length = f"{self.duration_seconds:.0f} s"
            raise Refused(f"this is a recording of {length} and no live stream; download it and give the file")
        if self._format.name == "gif":
            raise Refused(f"this is a GIF and no live stream: {HINT}")
        # AVIF and HEIC are films of one frame to FFmpeg.
        if self._video().frames == 1:
            raise one_picture()
        if self._format.name.endswith("_pipe"):
            self._check_for_a_second_picture()

    def _check_for_a_second_picture(self) -> None:
        """FFmpeg reads single pictures, and what is sent one after the other, with the same demuxers."""
        pictures: list[Picture] = []
        try:
            while len(pictures) < 2:
                pictures += filter(None, [super().read()])
        except Stalled:
            raise
        except Lost:
            raise one_picture() from None
        self._decoded.extendleft(reversed(pictures))

    def _next(self) -> Picture | None:
        picture = super().read()
        if picture is not None and picture.pts_seconds is not None:
            self._due = self._moment(picture.pts_seconds, picture.arrived)
            self._waited = 0.0
        return picture

    def _moment(self, stamp: float, arrived: float) -> float:
        if self._bursts is not None and self._bursts.saw(stamp, arrived):
            self._bursts, self._pace = None, Pace()
        return arrived if self._pace is None else self._pace.due(stamp, arrived, self._waited)

    def _next_packet(self) -> av.Packet[av.VideoStream]:
        began = clock.now()
        try:
            return super()._next_packet()
        finally:
            self._waited += clock.now() - began


def _counts_stamps(container: av.ContainerFormat) -> bool:
    """Whether FFmpeg makes the stamps up by counting pictures: then they say nothing about time."""
    return bool(container.flags & _NO_TIMESTAMPS) or container.name.endswith("_pipe")
