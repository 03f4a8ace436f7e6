"""Reads packets of a recording from any key frame on, numbered as they were when they were indexed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from stts_runtime.video.packets import NO_STAMP, Packets

_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta udta sidx ssix styp prft emsg pdin pnot PICT".split()
)
_MOST_BOXES = 100_000
_OPEN_LENGTH = 0xFFFFFFF0
"""From here on the length of an AVI is what a recorder writes that does not know it yet."""
_HEAD_BYTES = 512
_TEXT = bytes(range(32, 127)) + b"\t\r\n" + bytes(range(128, 256))
"""Bytes of text in ASCII and UTF-8."""
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
# Texts next to the video (a title, say) may be in any encoding. PyAV 19 asks no longer how to read them.
_OTHER_ENCODINGS: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


@dataclass(frozen=True)
class Layout:
    size_bytes: int
    head: bytes = b""
    """Its first bytes."""
    promised_bytes: int | None = None
    """What the container says the file should have; None where it says nothing."""
    lacks_index: bool = False
    """An MP4 or MOV whose index (`moov`), written last, is not there: its recording was interrupted."""

    @property
    def is_text(self) -> bool:
        """Such as a playlist, which would have FFmpeg open the files and addresses that it names."""
        return bool(self.head) and not self.head.translate(None, _TEXT)

    @property
    def is_cut_off(self) -> bool:
        return self.promised_bytes is not None and self.promised_bytes > self.size_bytes


def read_layout(path: Path) -> Layout:
    """Raises `OSError` where the file cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head[:4] == b"RIFF":
            return Layout(size, head, _riff_end(head))
        if head[:4] == _EBML:
            return Layout(size, head, _segment_end(file))
        if head[4:8] in _BOXES:
            return _boxes_layout(file, size, head)
    return Layout(size, head)


def _riff_end(head: bytes) -> int | None:
    length: int = struct.unpack("<I", head[4:8])[0] if len(head) >= 8 else _OPEN_LENGTH
    return length + 8 if length < _OPEN_LENGTH else None


def _boxes_layout(file: BinaryIO, size: int, head: bytes) -> Layout:
    kinds, end = set(), 0
    for kind, box_end in _boxes(file, size):
        kinds.add(kind)
        end = box_end
    return Layout(size, head, end, lacks_index=b"mdat" in kinds and not kinds & {b"moov", b"moof"})


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each box at the top level, as far as the file goes."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length == 0:
            yield kind, size
            return
        if length < 8 or kind not in _BOXES:
            # What follows the last box is no business of the container's.
            return
        at += length
        yield kind, at


def _segment_end(file: BinaryIO) -> int | None:
    """End of the segment of a Matroska or WebM file; None if a live recorder left the length open."""
    at = 0
    for _ in range(2):
        file.seek(at)
        head = file.read(12)
        number = head[:4]
        length, used = _variable_length(head[4:])
        if length is None:
            return None
        at += 4 + used + length
        if number == _SEGMENT:
            return at
    return None


def _variable_length(content: bytes) -> tuple[int | None, int]:
    """EBML's number of variable length and the bytes it takes; all ones mean unknown."""
    if not content or content[0] == 0:
        return None, 0
    used = 9 - content[0].bit_length()
    if len(content) < used:
        return None, 0
    mask = (1 << 7 * used) - 1
    value = int.from_bytes(content[:used], "big") & mask
    return (None if value == mask else value), used


_NEAR_PACKETS = 250
"""Reading on over this many packets is quicker than seeking."""
_SEARCHED_PACKETS = 2000
"""Read after a seek before it counts as one that went astray."""

Packet: TypeAlias = "av.Packet[av.VideoStream]"


MOST_VIDEOS = 8
"""FFmpeg decodes the first pictures of each when it opens a file, and a few MB may hold those of a thousand."""
_MOST_STREAMS = 512
"""Streams of any kind: subtitles and sound in many languages, programs of a broadcast."""
_GLANCE_BYTES = 1 << 16
"""Read to count what is there: headers, and no more than a few large pictures."""


class ManyVideosError(Exception):
    """A container holds more videos than are looked at, or an absurd number of streams."""


def open_container(place: str, hardware: HWAccel | None = None) -> InputContainer:
    """Raises `av.FFmpegError`, and `ManyVideosError` before this many are decoded."""
    try:
        container = _opened(place, hardware, max_streams=MOST_VIDEOS)
        if len(container.streams) < MOST_VIDEOS:
            return container
        container.close()
    except MemoryError:
        # What FFmpeg says of an MP4 with more.
        pass
    return _opened(place, hardware, max_streams=_count_streams(place))


def _count_streams(place: str) -> int:
    """Raises `ManyVideosError`."""
    try:
        with _opened(place, None, max_streams=_MOST_STREAMS, probesize=_GLANCE_BYTES) as container:
            streams, videos = len(container.streams), len(container.streams.video)
    except MemoryError:
        raise ManyVideosError from None
    if videos > MOST_VIDEOS:
        raise ManyVideosError
    return max(streams, MOST_VIDEOS)


def _opened(place: str, hardware: HWAccel | None, **options: int) -> InputContainer:
    # A server gets some time; a file on a disk takes what it takes.
    timeout = (10.0, 10.0) if "://" in place else None
    texts = {name: str(number) for name, number in options.items()}
    container: InputContainer = av.open(place, timeout=timeout, hwaccel=hardware, options=texts, **_OTHER_ENCODINGS)
    return container


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
