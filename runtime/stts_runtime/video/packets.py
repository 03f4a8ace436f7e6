"""An index of a recording's packets: read without decoding, in one pass over the file.

It knows how packets depend on one another, and neither when their pictures are shown nor how they are decoded.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from stts_runtime.video.clock import JUMP_SECONDS

Mask = NDArray[np.bool_]

NO_STAMP = -(1 << 63)
"""FFmpeg's own number for a stamp that is missing."""

_PAINTED_OVER = {"apng", "gif", "webp"}
"""Codecs whose pictures are painted over the ones before, and whose packets all pass for key frames."""

_HOLE_STEPS = 2.5
_FLAGGED_EARLY = 2
"""Packets."""


@dataclass(frozen=True)
class Packets:
    """Packets of one stream, in decoding order: arrays (P,)."""

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    """In units of `time_base`; `NO_STAMP` where there is none."""
    position: NDArray[np.int64]
    """Where a packet is in the file, in bytes; -1 where FFmpeg cannot tell."""
    size: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    is_hidden: NDArray[np.bool_]
    """Decoded and not shown: an edit list leaves it out."""
    is_whole: NDArray[np.bool_]
    """Neither damaged nor after a damaged packet, on which it may depend, before the next key frame."""
    time_base: float
    """Seconds a unit."""

    def __len__(self) -> int:
        return len(self.pts)

    def seconds(self, stamps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Stamps in seconds, NaN where there is none."""
        return np.where(stamps == NO_STAMP, np.nan, stamps * self.time_base)


@dataclass
class _Rows:
    """Grows by a packet at a time; compact, since an hour has a hundred thousand of them."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    position: array[int] = field(default_factory=lambda: array("q"))
    size: array[int] = field(default_factory=lambda: array("q"))
    flags: array[int] = field(default_factory=lambda: array("b"))

    def add(self, packet: av.Packet[Any]) -> None:
        self.pts.append(NO_STAMP if packet.pts is None else packet.pts)
        self.dts.append(NO_STAMP if packet.dts is None else packet.dts)
        self.position.append(-1 if packet.pos is None else packet.pos)
        self.size.append(packet.size)
        self.flags.append(packet.is_keyframe | packet.is_discard << 1 | packet.is_corrupt << 2)

    def packets(self, time_base: float, keys_are_whole: bool) -> Packets:
        pts, dts, position, size = (np.array(one, np.int64) for one in (self.pts, self.dts, self.position, self.size))
        flags = np.array(self.flags, np.int8)
        is_key, is_corrupt = (flags & 1).astype(bool), (flags & 4).astype(bool)
        if len(is_key) and not (keys_are_whole and is_key.any()):
            # Streams that refresh their pictures bit by bit have no key frame at all.
            is_key[:] = np.arange(len(is_key)) == 0
        whole = _whole(is_key, _faults(is_key, is_corrupt, dts.astype(np.float64) * time_base))
        return Packets(pts, dts, position, size, is_key, (flags & 2).astype(bool), whole, time_base)


def videos_of(container: InputContainer) -> list[av.VideoStream]:
    """The streams with films that can be decoded here: no cover pictures."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & pictures and getattr(stream, "codec_context", None) is not None
    ]


def index_packets(
    container: InputContainer, streams: Sequence[av.VideoStream], check: Callable[[int], None]
) -> tuple[list[Packets], bool]:
    """Reads on to the end of the file: an index for each of `streams`, and whether reading broke off before the end.

    `check` hears for every packet how many its stream has by now. What it raises passes through.
    """
    rows = {stream.index: _Rows() for stream in streams}
    units = {stream.index: float(stream.time_base or 0) for stream in streams}
    broke_off = False
    try:
        for packet in container.demux(*streams):
            if packet.size == 0:
                continue
            row = rows[packet.stream_index]
            row.add(packet)
            check(len(row.size))
    except av.FFmpegError:
        broke_off = True
    indexes = [
        rows[stream.index].packets(units[stream.index], stream.codec_context.name not in _PAINTED_OVER)
        for stream in streams
    ]
    return indexes, broke_off


def _whole(is_key: Mask, is_fault: Mask) -> Mask:
    numbers = np.arange(len(is_key))
    last_key = np.maximum.accumulate(np.where(is_key, numbers, -1))
    last_fault = np.maximum.accumulate(np.where(is_fault, numbers, -1))
    # What stands before the first key frame lacks what it refers to; a damaged key frame is no new beginning.
    whole: Mask = last_key > last_fault
    return whole


def _faults(is_key: Mask, is_corrupt: Mask, seconds: NDArray[np.float64]) -> Mask:
    """Packets that are damaged or follow a hole. FFmpeg flags the last packet or two before the place, and also where
    transport streams were joined, and packets that never were there are missing: before a key frame, without a hole.
    """
    steps = np.diff(seconds, prepend=seconds[:1])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    is_hole = (steps > _HOLE_STEPS * usual) & (steps <= JUMP_SECONDS)
    faults = is_corrupt.copy()
    for distance in range(1, _FLAGGED_EARLY + 1):
        faults[:-distance] &= ~(is_key[distance:] & ~is_hole[distance:])
    for distance in range(1, _FLAGGED_EARLY + 1):
        faults[distance:] |= is_corrupt[:-distance] & is_hole[distance:]
    return faults
