"""The last packets of a live source, from a key frame on, in bounded memory: what a clip of an alarm is cut from.

Written by the thread that reads the source, read by the one that cuts. A clip never reaches over a reconnection: what
comes after it may be of another size or codec.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import av
from av.video.stream import VideoStream

from stts_runtime.errors import SourceError
from stts_runtime.sources.clips import Cut, Moment, ending
from stts_runtime.video.remux import Codec, CodedPacket

_LONGEST_STEP = 10.0
"""Seconds between two stamps; a longer step, or one backward, is a clock that was set: the time line goes on."""
_USUAL_STEP = 0.04
"""Seconds, until the first step is known."""


@dataclass
class _Group:
    """A key frame, and what refers to it."""

    connection: Connection
    packets: list[CodedPacket] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    """When each came, on the clock of `clock.now`."""
    size_bytes: int = 0


class PacketRing:
    """Packets of one source: the last `seconds`, up to one key frame's interval more, at most `most_bytes`."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._seconds, self._most_bytes = seconds, most_bytes
        self._groups: deque[_Group] = deque()
        self._bytes = 0
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def connected(self, stream: VideoStream, *, has_stamps: bool = True) -> Connection:
        """What packets of `stream` are put into from now on. Without stamps, time is that of their arrival."""
        connection = Connection(self, stream, has_stamps)
        with self._lock:
            self._connection = connection
        return connection

    def due(self, moment: Moment, after: float) -> float:
        return moment.captured + after

    def cut(self, moment: Moment, before: float, after: float) -> Cut:
        with self._lock:
            groups = list(self._groups)
            found = next((one for one in reversed(groups) if one.arrived[0] <= moment.captured), None)
            if found is None:
                raise SourceError("nothing of that moment is left: no key frame came, or too much has come since")
            stamp = found.packets[bisect_right(found.arrived, moment.captured) - 1].dts
            # The newest group grows.
            same = [list(one.packets) for one in groups if one.connection is found.connection]
        return found.connection.cut(same, stamp, before, after)

    def put(self, connection: Connection, packet: CodedPacket, arrived: float) -> None:
        with self._lock:
            if connection is not self._connection:
                # Of a reader that was left behind.
                return
            if packet.is_key:
                self._groups.append(_Group(connection))
            elif not self._groups or self._groups[-1].connection is not connection:
                return
            newest = self._groups[-1]
            newest.packets.append(packet)
            newest.arrived.append(arrived)
            newest.size_bytes += len(packet.data)
            self._bytes += len(packet.data)
            self._trim(arrived)

    def _trim(self, now: float) -> None:
        while len(self._groups) > 1 and self._groups[1].arrived[0] <= now - self._seconds:
            self._drop()
        # The newest too: of what comes until the next key frame nothing could be shown.
        while self._bytes > self._most_bytes:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= self._groups.popleft().size_bytes


class Connection:
    """One connection's packets, on a time line that never goes back."""

    def __init__(self, ring: PacketRing, stream: VideoStream, has_stamps: bool) -> None:
        self._ring, self._has_stamps = ring, has_stamps
        self._stream: VideoStream | None = stream
        """Until the first key frame: the reader closes it."""
        self._codec: Codec | None = None
        self._unit = float(stream.time_base or 0) or 1 / 90_000
        self._offset = 0
        self._last: int | None = None
        self._step = max(1, round(_USUAL_STEP / self._unit))

    def put(self, packet: av.Packet[Any], arrived: float) -> None:
        """`arrived` is on the clock of `clock.now`."""
        if not packet.size or (self._codec is None and not self._begins(packet)):
            return
        stamp = packet.dts if packet.dts is not None else packet.pts
        if not self._has_stamps or stamp is None:
            dts = pts = self._placed(round(arrived / self._unit))
        else:
            dts = self._placed(stamp)
            pts = max(dts, dts if packet.pts is None else packet.pts + self._offset)
        coded = CodedPacket(bytes(packet), pts, dts, packet.duration or self._step, bool(packet.is_keyframe))
        self._ring.put(self, coded, arrived)

    def cut(self, groups: list[list[CodedPacket]], moment: int, before: float, after: float) -> Cut:
        assert self._codec is not None
        first, last = moment - before / self._unit, moment + after / self._unit
        begin = max([place for place, group in enumerate(groups) if group[0].dts <= first], default=0)
        packets = ending([one for group in groups[begin:] for one in group if one.dts <= last], last)
        return Cut(
            self._codec, packets, (moment - packets[0].dts) * self._unit, (packets[-1].dts - moment) * self._unit
        )

    def _begins(self, packet: av.Packet[Any]) -> bool:
        """Whether the first key frame is there, and packets can be written."""
        if not packet.is_keyframe or self._stream is None:
            return False
        stream, self._stream = self._stream, None
        with suppress(SourceError):
            self._codec = Codec.of(stream, bytes(packet))
        return self._codec is not None

    def _placed(self, stamp: int) -> int:
        """A stamp on this time line."""
        step = self._step if self._last is None else stamp + self._offset - self._last
        if self._last is None or not 0 < step * self._unit <= _LONGEST_STEP:
            self._offset = (0 if self._last is None else self._last + self._step) - stamp
        else:
            self._step = step
        self._last = stamp + self._offset
        return self._last
