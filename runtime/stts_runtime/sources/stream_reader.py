"""Live streams behind a URL, through PyAV (FFmpeg): decoded, and handed on at the right pace.

It knows nothing of reconnecting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from stts_runtime import clock
from stts_runtime.sources.faults import Ended, Lost, Refused, Stalled, check_host, fault_of
from stts_runtime.sources.pace import BurstWatch, Pace
from stts_runtime.sources.packet_ring import Connection, PacketRing
from stts_runtime.sources.snapshot import HINT, one_picture, sends_one_picture
from stts_runtime.sources.source import LiveSettings, Picture
from stts_runtime.video.decoding import has_nvdec
from stts_runtime.video.pixels import BgrConverter, first_plane

# Of a time limit, which FFmpeg reports as one of several errors.
_NEARLY = 0.95


class PyAVReader:
    """The first video stream of a URL.

    Pictures before the first key frame, damaged ones, and all that refer to a damaged one are dropped and counted.
    """

    def __init__(
        self,
        place: str,
        options: Mapping[str, str],
        open_seconds: float,
        read_seconds: float,
        nvdec: bool,
        ring: PacketRing | None = None,
    ) -> None:
        """`ring` gets all packets."""
        self.corrupt = 0
        self._ring = ring
        self._kept: Connection | None = None
        self._bgr_of = BgrConverter()
        self._place, self._options = place, dict(options)
        self._open_seconds, self._read_seconds = open_seconds, read_seconds
        self._hardware = HWAccel("cuda", allow_software_fallback=True) if nvdec and has_nvdec() else None
        self._container: InputContainer | None = None
        self._packets: Iterator[av.Packet[av.VideoStream]] = iter(())
        self._decoded: deque[Picture] = deque()
        # False from a loss to the next key frame: what is between refers to what is not there.
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
        if self._ring is not None:
            self._kept = self._ring.connected(self._video(), has_stamps=not _counts_stamps(self._container.format))

    @property
    def duration_seconds(self) -> float | None:
        """Length of a recording; None if its end is not known."""
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
        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            self._check_silence(began)
            raise fault_of(error) from None
        # Also with a packet: when the time is over, FFmpeg may hand on what it has of one.
        self._check_silence(began)
        if packet is None:
            raise Ended("the other side ended the stream")
        return packet

    def _check_silence(self, began: float) -> None:
        if _over(began, self._read_seconds):
            raise Stalled(f"no packet for {self._read_seconds:g} s")

    def _decode(self, packet: av.Packet[av.VideoStream]) -> None:
        arrived = clock.now()
        if self._kept is not None:
            self._kept.put(packet, arrived)
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


_SEGMENTED = ("hls", "dash")
"""FFmpeg's names for streams that are published in segments of some seconds."""
_NO_TIMESTAMPS = 0x80
"""AVFMT_NOTIMESTAMPS of libavformat."""
_NAP_SECONDS = 0.1
"""`read` returns at least this often while a picture waits, since the reader may have been abandoned."""


class StreamReader(PyAVReader):
    """rtsp(s):// and http(s)://. Pictures that arrive in bursts are handed on at the pace of their stamps; what is not
    due yet stays with the server. Refuses what is no stream: a recording would rush by and start again, and so would
    one picture.
    """

    def __init__(self, url: str, settings: LiveSettings, ring: PacketRing | None = None) -> None:
        self._url = url
        # Without a guess at the frame rate, for which FFmpeg would wait for twenty pictures.
        # FFmpeg decodes the first pictures of every stream that the other side announces.
        options = {"fpsprobesize": "0", "max_streams": "64"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = settings.transport
        super().__init__(url, options, settings.open_seconds, settings.stall_seconds, settings.nvdec, ring)
        self._pace: Pace | None = None
        self._bursts: BurstWatch | None = None
        self._waited = 0.0
        self._early: Picture | None = None
        self._due = 0.0

    def open(self) -> None:
        check_host(self._url)
        if self._url.lower().startswith("http"):
            self._open_http()
        else:
            super().open()
        if self._format.name in _SEGMENTED:
            self._pace = Pace()
        elif not _counts_stamps(self._format):
            self._bursts = BurstWatch()

    def read(self) -> Picture | None:
        """The next picture at its moment; None too while it waits for that."""
        picture = self._early or self._next()
        self._early = None
        if picture is not None and (early := self._due - clock.now()) > 0:
            self._early = picture
            time.sleep(min(early, _NAP_SECONDS))
            return None
        return picture

    @property
    def _format(self) -> av.ContainerFormat:
        assert self._container is not None
        return self._container.format

    def _open_http(self) -> None:
        began = clock.now()
        try:
            super().open()
        except Refused:
            raise
        except Lost:
            if sends_one_picture(self._url, self._open_seconds - (clock.now() - began)):
                raise one_picture() from None
            raise
        if self.duration_seconds is not None:
            length = f"{self.duration_seconds:.0f} s"
            raise Refused(f"this is a recording of {length} and no live stream; download it and give the file")
        if self._format.name == "gif":
            raise Refused(f"this is a GIF and no live stream: {HINT}")
        # AVIF and HEIC are films of one frame to FFmpeg.
        if self._video().frames == 1:
            raise one_picture()
        if self._format.name.endswith("_pipe"):
            self._check_for_a_second_picture()

    def _check_for_a_second_picture(self) -> None:
        """FFmpeg reads single pictures, and what is sent one after the other, with the same demuxers."""
        pictures: list[Picture] = []
        try:
            while len(pictures) < 2:
                pictures += filter(None, [super().read()])
        except Stalled:
            raise
        except Lost:
            raise one_picture() from None
        self._decoded.extendleft(reversed(pictures))

    def _next(self) -> Picture | None:
        picture = super().read()
        if picture is not None and picture.pts_seconds is not None:
            self._due = self._moment(picture.pts_seconds, picture.arrived)
            self._waited = 0.0
        return picture

    def _moment(self, stamp: float, arrived: float) -> float:
        if self._bursts is not None and self._bursts.saw(stamp, arrived):
            self._bursts, self._pace = None, Pace()
        return arrived if self._pace is None else self._pace.due(stamp, arrived, self._waited)

    def _next_packet(self) -> av.Packet[av.VideoStream]:
        began = clock.now()
        try:
            return super()._next_packet()
        finally:
            self._waited += clock.now() - began


def _counts_stamps(container: av.ContainerFormat) -> bool:
    """Whether FFmpeg makes the stamps up by counting pictures: then they say nothing about time."""
    return bool(container.flags & _NO_TIMESTAMPS) or container.name.endswith("_pipe")
