"""A clip of a recording, cut from its packets where they lie: it needs no ring."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from stts_runtime.errors import SourceError
from stts_runtime.sources.clips import Cut, Moment, ending
from stts_runtime.video.packet_reader import ManyVideosError, open_container
from stts_runtime.video.remux import Codec, CodedPacket, film_of

_EARLIER = (0.0, 10.0, None)
"""Seconds before the wanted beginning to which is sought, since containers without an index lead to somewhere near it;
None: reading from the start.
"""


_HAIR = 1e-3


class RecordedPackets:
    """Packets of a file, local or at an http(s):// address."""

    def __init__(self, place: str, most_bytes: int) -> None:
        """`most_bytes` may be read into memory for a clip."""
        self._place, self._most_bytes = place, most_bytes

    def due(self, moment: Moment, after: float) -> float:  # noqa: ARG002 - it is all there
        return 0.0

    def cut(self, moment: Moment, before: float, after: float) -> Cut:
        cut = None
        for earlier in _EARLIER:
            try:
                with open_container(self._place) as container:
                    cut = self._cut(container, moment.seconds, before, after, earlier)
            except (av.FFmpegError, ManyVideosError):
                raise SourceError("the recording can no longer be read") from None
            if cut is not None and cut.before > min(before, moment.seconds) - _HAIR:
                return cut
        if cut is None:
            raise SourceError("nothing of that moment can be read from the recording")
        return cut

    def _cut(
        self, container: InputContainer, seconds: float, before: float, after: float, earlier: float | None
    ) -> Cut | None:
        film = film_of(container)
        unit, begins = float(film.time_base or 0) or 1 / 90_000, film.start_time or 0
        stamp = begins + round(seconds / unit)
        first = stamp - before / unit
        if earlier is not None:
            container.seek(int(max(first - earlier / unit, begins)), stream=film)
        packets = self._read(container.demux(film), stamp + after / unit)
        if not packets:
            return None
        keys = [place for place, one in enumerate(packets) if one.is_key and one.pts <= first]
        packets = ending(packets[max(keys, default=0) :], stamp + after / unit)
        last = max(one.pts for one in packets)
        return Cut(Codec.of(film, packets[0].data), packets, (stamp - packets[0].pts) * unit, (last - stamp) * unit)

    def _read(self, packets: Iterator[av.Packet[VideoStream]], last: float) -> list[CodedPacket]:
        """From the first key frame on."""
        read, size = list[CodedPacket](), 0
        for one in packets:
            dts = one.dts if one.dts is not None else one.pts
            if not one.size or dts is None or not (read or one.is_keyframe):
                continue
            if dts > last:
                break
            size += one.size
            if size > self._most_bytes:
                raise SourceError(f"the clip needs more than the {self._most_bytes:,} bytes of buffer_bytes")
            pts = dts if one.pts is None else max(one.pts, dts)
            read.append(CodedPacket(bytes(one), pts, dts, one.duration or 0, one.is_keyframe))
        return read
