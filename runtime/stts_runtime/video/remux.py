"""Packets that were read, written to an MP4 as they are: nothing is decoded and nothing encoded again.

It knows neither where packets come from nor when they are wanted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from stts_runtime.errors import SourceError
from stts_runtime.video.packets import videos_of

_UNIT = Fraction(1, 90_000)
"""A time base for what gives none."""


@dataclass(frozen=True)
class CodedPacket:
    """A packet that outlives its container. Stamps are in units of its codec's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    is_key: bool


@dataclass(frozen=True)
class Codec:
    """What packets have to be written with, without the container that they came from."""

    name: str
    header: bytes
    """A file in FFmpeg's own container, NUT, which holds every codec's parameters as they are, with one packet: some
    parameters only a key frame tells.
    """
    time_base: Fraction
    """Seconds a unit."""

    @classmethod
    def of(cls, stream: VideoStream, key: bytes) -> Codec:
        """`key` is a packet of a key frame. Raises `SourceError` for a codec that cannot be written."""
        content = io.BytesIO()
        try:
            with av.open(content, "w", format="nut") as file:
                # `opaque`: no encoder of that name is looked for.
                copy = file.add_stream_from_template(stream, opaque=True)
                file.mux(_packet(CodedPacket(key, 0, 0, 1, is_key=True), 0, copy.time_base or _UNIT, copy))
        except (av.FFmpegError, ValueError):
            raise SourceError(f"packets of {stream.codec_context.name} cannot be written") from None
        return cls(stream.codec_context.name, content.getvalue(), stream.time_base or _UNIT)


def film_of(container: InputContainer) -> VideoStream:
    """The longest that can be decoded here. Raises `SourceError` if there is none."""
    if not (films := videos_of(container)):
        raise SourceError("it holds no video")
    return max(films, key=lambda one: (one.duration or 0) * (one.time_base or 0))


def mp4_of(codec: Codec, packets: Sequence[CodedPacket]) -> bytes:
    """An MP4 that begins with the first packet, which should be of a key frame.

    Raises `SourceError` where MP4 does not hold the codec.
    """
    content, begins = io.BytesIO(), packets[0].pts
    try:
        with av.open(io.BytesIO(codec.header)) as header, av.open(content, "w", format="mp4") as file:
            stream = file.add_stream_from_template(header.streams.video[0], opaque=True)
            stream.time_base = codec.time_base
            for one in packets:
                file.mux(_packet(one, begins, codec.time_base, stream))
        # FFmpeg does not always say that it lacks what a player needs.
        content.seek(0)
        av.open(content).close()
    except (av.FFmpegError, ValueError):
        raise SourceError(f"an MP4 does not hold {codec.name} as this source sends it") from None
    return content.getvalue()


def _packet(coded: CodedPacket, begins: int, time_base: Fraction, stream: VideoStream) -> av.Packet[Any]:
    packet: av.Packet[Any] = av.Packet(coded.data)
    packet.pts, packet.dts, packet.duration = coded.pts - begins, coded.dts - begins, coded.duration
    packet.time_base, packet.is_keyframe, packet.stream = time_base, coded.is_key, stream
    return packet
