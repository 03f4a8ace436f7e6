"""Reads packets of a recording from any key frame on, numbered as they were when they were indexed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TypeAlias

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from stts_runtime.video.packets import NO_STAMP, Packets

_NEAR_PACKETS = 250
"""Reading on over so many packets is quicker than seeking."""
_SEARCHED_PACKETS = 2000
"""Read after a seek before it counts as one that went astray."""

Packet: TypeAlias = "av.Packet[av.VideoStream]"


def open_container(place: str, hardware: HWAccel | None = None) -> InputContainer:
    """Raises `av.FFmpegError`."""
    # A server gets some time; a file on a disk takes what it takes.
    timeout = (10.0, 10.0) if "://" in place else None
    return av.open(place, timeout=timeout, hwaccel=hardware, metadata_errors="replace")


class PacketReader:
    """Holds the file open; use it as a context."""

    def __init__(self, place: str, stream: int, packets: Packets, hardware: HWAccel | None) -> None:
        """`stream` is the index of the stream in its container, and `packets` what is in it."""
        self._place, self._index, self._packets, self._hardware = place, stream, packets, hardware
        self._container: InputContainer | None = None
        self._rest: Iterator[Packet] = iter(())
        self._may_seek = True
        self._next = 0
        """Number of the packet that comes next."""

    def __enter__(self) -> PacketReader:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def restart(self, start: int) -> VideoCodecContext:
        """Goes to a key frame's packet; returns the decoder, which has forgotten what it decoded before."""
        is_near = self._next <= start <= self._next + (_NEAR_PACKETS if self._may_seek else len(self._packets))
        if not is_near and not self._seek(start):
            # Reading from the start finds every packet, whatever the container's index is like.
            self._may_seek = False
            self._close()
            self._open()
        for _ in islice(self._rest, start - self._next):
            self._next += 1
        context = self._stream.codec_context
        if context.is_open:
            context.flush_buffers()
        return context

    def packets(self, last: int) -> Iterator[tuple[int, Packet]]:
        """The next packets up to number `last`; fewer if the file can no longer be read."""
        try:
            for packet in islice(self._rest, last + 1 - self._next):
                self._next += 1
                yield self._next - 1, packet
        except av.FFmpegError:
            return

    @property
    def _stream(self) -> av.VideoStream:
        assert self._container is not None
        stream = self._container.streams[self._index]
        if not isinstance(stream, av.VideoStream):
            raise LookupError(self._index)
        return stream

    def _open(self) -> None:
        self._container = open_container(self._place, self._hardware)
        self._stream.thread_type = "AUTO"
        self._rest, self._next = self._demux(), 0

    def _close(self) -> None:
        if self._container is not None:
            self._rest = iter(())
            self._container.close()

    def _demux(self) -> Iterator[Packet]:
        assert self._container is not None
        return (packet for packet in self._container.demux(self._stream) if packet.size)

    def _seek(self, start: int) -> bool:
        """Whether the container's own index led to the packet; it is told by place, size and stamps."""
        packets = self._packets
        pts, dts, position = int(packets.pts[start]), int(packets.dts[start]), int(packets.position[start])
        stamp = pts if dts == NO_STAMP else dts
        if stamp == NO_STAMP or position < 0:
            return False
        assert self._container is not None
        try:
            self._container.seek(stamp, stream=self._stream)
            self._rest = self._demux()
            for packet in islice(self._rest, _SEARCHED_PACKETS):
                if packet.pos == position and packet.size == packets.size[start] and packet.pts in (pts, None):
                    self._rest, self._next = chain([packet], self._rest), start
                    return True
                if packet.pos is not None and packet.pos > position:
                    return False
        except av.FFmpegError:
            pass
        return False
