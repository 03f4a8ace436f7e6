"""A video file played as a camera would send it, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from stts_runtime import clock
from stts_runtime.errors import SourceError
from stts_runtime.sources.faults import Refused
from stts_runtime.sources.packet_ring import Connection, PacketRing
from stts_runtime.sources.source import Picture
from stts_runtime.video.decoding import Picture as DecodedPicture
from stts_runtime.video.file_source import VideoFile
from stts_runtime.video.packet_reader import open_container
from stts_runtime.video.pixels import BgrConverter, first_plane
from stts_runtime.video.remux import film_of


class LoopReader:
    def __init__(self, path: Path, nvdec: bool, ring: PacketRing | None = None) -> None:
        self.corrupt = 0
        self._path, self._nvdec = path, nvdec
        self._packets = None if ring is None else _LoopPackets(path, ring)
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
        if self._packets is not None:
            self._packets.open()
        self._began = clock.now()

    def read(self) -> Picture | None:
        """As any reader's, at the picture's moment; its time is that of its arrival, which does not jump back."""
        assert self._video is not None
        picture = next(self._pictures, None)
        if picture is None:
            self._pictures = self._video.pictures(range(self._video.frames))
            self._began += self._video.duration_seconds
            if self._packets is not None:
                self._packets.go_on()
            return None
        seconds = float(self._video.pts_seconds[picture.number])
        time.sleep(max(0.0, self._began + seconds - clock.now()))
        if self._packets is not None:
            self._packets.play(seconds)
        if picture.frame is None or not picture.is_exact:
            self.corrupt += 1
            return None
        image, brightness = partial(self._convert, picture.frame), partial(first_plane, picture.frame)
        return Picture(None, clock.now(), image, brightness)

    def close(self) -> None:
        # What is left of it holds the file open.
        self._pictures = iter(())
        if self._packets is not None:
            self._packets.close()


class _LoopPackets:
    """The file's packets at the moments at which a camera would send them: the decoder skips and takes some twice."""

    def __init__(self, path: Path, ring: PacketRing) -> None:
        self._path, self._ring = path, ring
        self._container: InputContainer | None = None
        self._connection: Connection | None = None
        self._left: Iterator[av.Packet[VideoStream]] = iter(())
        self._next: av.Packet[VideoStream] | None = None
        self._first: float | None = None
        """Seconds of the round's first packet on the file's time line."""

    def open(self) -> None:
        self._begin()
        assert self._container is not None
        self._connection = self._ring.connected(film_of(self._container))

    def play(self, seconds: float) -> None:
        """Up to this moment of the round."""
        arrived = clock.now()
        while self._next is not None and self._seconds(self._next) <= seconds:
            self._put(arrived)

    def go_on(self) -> None:
        """With the next round."""
        arrived = clock.now()
        while self._next is not None:
            self._put(arrived)
        self._begin()

    def close(self) -> None:
        self._left, self._next = iter(()), None
        if self._container is not None:
            self._container.close()

    def _begin(self) -> None:
        self.close()
        self._container = open_container(str(self._path.absolute()))
        film = film_of(self._container)
        self._left = (packet for packet in self._container.demux(film) if packet.size)
        self._next, self._first = next(self._left, None), None

    def _put(self, arrived: float) -> None:
        assert self._connection is not None
        assert self._next is not None
        self._connection.put(self._next, arrived)
        self._next = next(self._left, None)

    def _seconds(self, packet: av.Packet[VideoStream]) -> float:
        stamp = packet.dts if packet.dts is not None else packet.pts
        seconds = float((stamp or 0) * (packet.time_base or 0))
        if self._first is None:
            self._first = seconds
        return seconds - self._first
