"""Live streams through PyAV (FFmpeg). It knows nothing of reconnecting."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from stts_runtime import clock
from stts_runtime.sources.faults import Ended, Lost, Refused, Stalled, fault_of
from stts_runtime.sources.source import Picture
from stts_runtime.sources.spec import host_and_port
from stts_runtime.text import redacted
from stts_runtime.video.decoding import has_nvdec
from stts_runtime.video.pixels import BgrConverter, first_plane

# Of a time limit, which FFmpeg reports as one of several errors.
_NEARLY = 0.95


class PyAVReader:
    """The first video stream of a URL.

    Pictures before the first key frame, damaged ones, and all that refer to a damaged one are dropped and counted.
    """

    def __init__(
        self, place: str, options: Mapping[str, str], open_seconds: float, read_seconds: float, nvdec: bool
    ) -> None:
        self.corrupt = 0
        self._bgr_of = BgrConverter()
        self._place, self._options = place, dict(options)
        self._open_seconds, self._read_seconds = open_seconds, read_seconds
        self._hardware = HWAccel("cuda", allow_software_fallback=True) if nvdec and has_nvdec() else None
        self._container: InputContainer | None = None
        self._packets: Iterator[av.Packet[av.VideoStream]] = iter(())
        self._decoded: deque[Picture] = deque()
        # False from a loss to the next key frame: what lies between refers to what is not there.
        self._whole = False
        self._had_key = False

    def open(self) -> None:
        began = clock.now()
        try:
            self._container = av.open(
                self._place,
                options=self._options,
                timeout=(self._open_seconds, self._read_seconds),
                hwaccel=self._hardware,
            )
        except av.FFmpegError as error:
            if _over(began, self._open_seconds):
                raise Lost(f"no answer for {self._open_seconds:g} s") from None
            raise fault_of(error) from None
        self._packets = self._container.demux(self._video())

    @property
    def duration_seconds(self) -> float | None:
        """Of a recording; None if it has no end that is known."""
        assert self._container is not None
        duration = self._container.duration
        return duration / av.time_base if duration and duration > 0 else None

    def read(self) -> Picture | None:
        if not self._decoded:
            self._decode(self._next_packet())
        return self._decoded.popleft() if self._decoded else None

    def close(self) -> None:
        if self._container is not None:
            # Packets and pictures hold on to the decoder and its buffers.
            self._packets, self._decoded = iter(()), deque()
            self._container.close()

    def _video(self) -> av.VideoStream:
        assert self._container is not None
        for stream in self._container.streams.video:
            # A codec that FFmpeg cannot decode leaves a stream without a decoder.
            if getattr(stream, "codec_context", None) is None:
                raise Refused("nothing here decodes the codec of this video")
            return stream
        raise Refused("the stream holds no video, or its codec is unknown")

    def _next_packet(self) -> av.Packet[av.VideoStream]:
        began = clock.now()
        fault: Lost = Ended("the other side ended the stream")
        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            packet, fault = None, fault_of(error)
        # Also with a packet: when the time is over, FFmpeg may hand on what it has of one.
        if _over(began, self._read_seconds):
            raise Stalled(f"no packet for {self._read_seconds:g} s")
        if packet is None:
            raise fault
        return packet

    def _decode(self, packet: av.Packet[av.VideoStream]) -> None:
        arrived = clock.now()
        try:
            frames = packet.decode()
        except av.FFmpegError:
            frames, self._whole = [], False
            self.corrupt += int(self._had_key)
        if packet.is_corrupt:
            self._whole = False
        self._had_key = self._had_key or packet.is_keyframe
        # Decoders keep silent about what comes before the first key frame.
        self.corrupt += int(not frames and not self._had_key and packet.size > 0)
        for frame in frames:
            self._sort(frame, arrived)

    def _sort(self, frame: av.VideoFrame, arrived: float) -> None:
        self._whole = not frame.is_corrupt and (self._whole or frame.key_frame)
        if self._whole:
            self._decoded.append(
                Picture(frame.time, arrived, partial(self._bgr_of, frame), partial(first_plane, frame))
            )
        else:
            self.corrupt += 1


def _over(began: float, limit_seconds: float) -> bool:
    return clock.now() - began > _NEARLY * limit_seconds


def check_host(url: str) -> None:
    """Raises `Lost` if nobody knows the host of `url`: FFmpeg calls that an input/output error."""
    host, _ = host_and_port(url)
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        # What seems to be the host may be the user, where a / in a password was not written as %2F.
        shown = f"{host} " if host in redacted(url).lower() else ""
        raise Lost(f"the host name {shown}is not known") from None
