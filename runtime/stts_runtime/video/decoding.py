"""Decodes a few pictures of a recording and as little else as they need.

A picture refers to others, back to a key frame. So the wanted pictures are sorted into groups that begin at the same
key frame; each group is sought and decoded up to its last wanted picture, without what nothing refers to.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from stts_runtime.video.packet_reader import PacketReader
from stts_runtime.video.packets import Packets

LIBRARY = "libnvcuvid.so.1"
MISSING = (
    f"the driver's library {LIBRARY} does not load, so video is decoded on the CPU; it comes with the NVIDIA driver, "
    "in containers with NVIDIA_DRIVER_CAPABILITIES=video,compute,utility"
)


@cache
def has_nvdec() -> bool:
    """Whether the driver's decoder can be loaded: FFmpeg opens nothing if it is asked for in vain."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


_EARLIER_GROUPS = 3
"""Tried where the first pictures after a key frame turn out to need what is before it."""
_MOST_REORDERED = 16
"""Packets between a picture's own and those decoded before it and shown after it, in any codec."""
_MOST_HELD_BACK = 64
"""Errors and pictures that a decoder may still bring at its end: one that fails for ever must not hold us up."""
_SKIPPING = {"h264", "hevc", "mpeg2video", "mpeg4", "vp8"}
"""Decoders that can be told packet by packet to leave out what nothing refers to."""


@dataclass(frozen=True)
class Shown:
    """A stream's pictures in the order in which they are shown."""

    packets: Packets
    packet_of: NDArray[np.int64]
    """(F,): the packet of each picture."""
    by_rank: bool
    """Packets have no stamps to order them by, so a picture is told by its place among those that come out."""
    can_count_from_key: bool = True
    """With `by_rank`: that place can be counted from any key frame, and not from the first one only."""


@dataclass(frozen=True)
class Picture:
    number: int
    """Number of the requested picture."""
    frame: av.VideoFrame | None
    """None where neither this picture nor one before it decodes."""
    is_exact: bool
    """False: what was wanted did not decode, and the frame is the last whole one before it."""


@dataclass
class _Group:
    key: int
    """Among the key frames, the one at which decoding begins."""
    wanted: list[int] = field(default_factory=list)
    """Numbers of pictures, ascending."""


class _Queue:
    """Hands on a group's wanted pictures in order, though wrong stamps may bring one out of the decoder too late."""

    def __init__(self, wanted: Sequence[int], before: av.VideoFrame | None) -> None:
        """`before` is the last whole picture of the groups before."""
        self.waiting, self.before = deque(wanted), before
        self._asked, self._came = set(wanted), dict[int, av.VideoFrame]()
        self._last, self._overdue = -1, 0

    def take(self, number: int, frame: av.VideoFrame) -> None:
        if number in self._asked:
            self._came[number] = frame
        elif self._last < number < self.waiting[0]:
            self.before, self._last = frame, number
        self._overdue += number > self.waiting[0]

    def due(self, at_end: bool = False) -> Iterator[Picture]:
        while self.waiting and (at_end or self._overdue > _MOST_REORDERED or self.waiting[0] in self._came):
            number = self.waiting.popleft()
            is_exact = number in self._came
            self.before = self._came.get(number, self.before)
            self._overdue = 0
            if not self.waiting or self.waiting[0] != number:
                self._came.pop(number, None)
            yield Picture(number, self.before, is_exact)


class Decoder:
    """One pass over a recording, forward."""

    def __init__(self, reader: PacketReader, shown: Shown, tick: Callable[[], None]) -> None:
        """`tick` is called for every packet; what it raises passes through."""
        self._reader, self._shown, self._tick = reader, shown, tick
        self._keys = np.flatnonzero(shown.packets.is_key)
        if shown.by_rank and not shown.can_count_from_key:
            self._keys = self._keys[:1]
        self._number_of = np.full(len(shown.packets), -1)
        self._number_of[shown.packet_of] = np.arange(len(shown.packet_of))

    def pictures(self, numbers: Sequence[int]) -> Iterator[Picture]:
        """A picture for each of these numbers, which ascend and may repeat."""
        before: av.VideoFrame | None = None
        for group in self._groups(numbers):
            queue = _Queue(group.wanted, before)
            for number, frame in self._whole(group):
                queue.take(number, frame)
                yield from queue.due()
                if not queue.waiting:
                    break
            yield from queue.due(at_end=True)
            before = queue.before

    def _groups(self, numbers: Sequence[int]) -> list[_Group]:
        groups: list[_Group] = []
        for number in numbers:
            key = self._key_of(number)
            if not groups or groups[-1].key != key:
                groups.append(_Group(key))
            groups[-1].wanted.append(number)
        return groups

    def _key_of(self, number: int) -> int:
        """A picture that is decoded after a key frame and shown before it refers to the group before, too."""
        key = int(np.searchsorted(self._keys, self._shown.packet_of[number], side="right")) - 1
        is_leading = number < self._number_of[self._keys[key]]
        return max(key - int(is_leading), 0)

    def _whole(self, group: _Group) -> Iterator[tuple[int, av.VideoFrame]]:
        """Whole pictures of a group with their numbers, wanted or not; at best from before the first that is wanted."""
        for key in range(group.key, max(group.key - _EARLIER_GROUPS, -1), -1):
            pictures = self._run(int(self._keys[key]), group.wanted)
            first = next(pictures, None)
            if first is not None and (first[0] <= group.wanted[0] or key == 0):
                yield from chain([first], pictures)
                return

    def _run(self, start: int, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decodes from a key frame's packet to the last of the wanted pictures' packets."""
        targets = self._shown.packet_of[list(wanted)] + _MOST_REORDERED * self._shown.by_rank
        frames = self._frames(start, int(targets.max()), set(targets.tolist()))
        number = -1
        if self._shown.by_rank:
            head = list(islice(frames, _MOST_REORDERED + 2))
            frames, number = chain(head, frames), int(self._number_of[start]) + _leading(head, start) - 1
        whole = True
        for frame in frames:
            if frame is None:
                whole = False
                continue
            whole = whole or frame.key_frame
            number = number + 1 if self._shown.by_rank else int(self._number_of[frame.pts or 0])
            # A lone key frame at the end of a stream passes for corrupt.
            if whole and (frame.key_frame or not frame.is_corrupt) and number >= 0:
                yield number, frame

    def _frames(self, start: int, last: int, targets: set[int]) -> Iterator[av.VideoFrame | None]:
        """What comes out of the decoder, its pts the number of its packet; None for packets that do not decode."""
        context = self._reader.restart(start)
        skips = context.name in _SKIPPING and not self._shown.by_rank
        for number, packet in self._reader.packets(last):
            self._tick()
            packet.pts = number
            context.skip_frame = "NONREF" if skips and number not in targets else "DEFAULT"
            yield from _decoded(context, packet)
        for _ in range(_MOST_HELD_BACK):
            if not (pictures := _decoded(context, None)):
                break
            yield from pictures


def _leading(head: Sequence[av.VideoFrame | None], start: int) -> int:
    """Packets right after the key frame's that give no picture: those shown before it refer to what was not decoded."""
    came = {frame.pts for frame in head if frame is not None and frame.pts is not None}
    count = 0
    while start + count + 1 not in came and start + count + 1 < max(came, default=start):
        count += 1
    return count


def _decoded(
    context: VideoCodecContext, packet: av.Packet[av.VideoStream] | None
) -> Sequence[av.VideoFrame] | Sequence[None]:
    """What a packet, or None for the end, brings out of the decoder; nothing after the end."""
    try:
        return context.decode(packet)
    except av.error.EOFError:
        return []
    except av.FFmpegError:
        return [None]
