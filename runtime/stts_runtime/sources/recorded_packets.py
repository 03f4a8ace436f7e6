"""A clip of a recording, cut from its packets where they lie: it needs no ring."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.video.stream import VideoStream

from stts_runtime.errors import SourceError
from stts_runtime.sources.clips import Cut, Moment
from stts_runtime.video.packet_reader import ManyVideosError, open_container
from stts_runtime.video.remux import Codec, CodedPacket, film_of


class RecordedPackets:
    """Of a file, or of one behind http(s)://."""

    def __init__(self, place: str) -> None:
        self._place = place

    def due(self, moment: Moment, after: float) -> float:  # noqa: ARG002 - it is all there
        return 0.0

    def cut(self, moment: Moment, before: float, after: float) -> Cut:
        try:
            with open_container(self._place) as container:
                film = film_of(container)
                unit = float(film.time_base or 0) or 1 / 90_000
                begins = film.start_time or 0
                stamp = begins + round(moment.seconds / unit)
                container.seek(max(stamp - round(before / unit), begins), stream=film)
                packets = list(_until(container.demux(film), stamp + after / unit))
                codec = Codec.of(film)
        except (av.FFmpegError, ManyVideosError):
            raise SourceError("the recording can no longer be read") from None
        if not packets:
            raise SourceError("nothing of that moment can be read from the recording")
        return Cut(codec, packets, (stamp - packets[0].dts) * unit, (packets[-1].dts - stamp) * unit)


def _until(packets: Iterator[av.Packet[VideoStream]], last: float) -> Iterator[CodedPacket]:
    """From the first key frame on."""
    had_key = False
    for one in packets:
        dts = one.dts if one.dts is not None else one.pts
        had_key = had_key or one.is_keyframe
        if not one.size or dts is None or not had_key:
            continue
        if dts > last:
            return
        pts = dts if one.pts is None else max(one.pts, dts)
        yield CodedPacket(bytes(one), pts, dts, one.duration or 0, one.is_keyframe)
