"""From what the user wrote to a source that runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stts_runtime.sources.camera_reader import CameraReader
from stts_runtime.sources.clips import Clips
from stts_runtime.sources.file_frames import FileFrames
from stts_runtime.sources.folder_reader import FolderReader
from stts_runtime.sources.gstreamer_reader import GStreamerReader, csi_pipeline, pipeline_words
from stts_runtime.sources.live_source import LiveSource
from stts_runtime.sources.loop_reader import LoopReader
from stts_runtime.sources.packet_ring import PacketRing
from stts_runtime.sources.recorded_packets import RecordedPackets
from stts_runtime.sources.source import LiveSettings, Reader, Source, StatusListener
from stts_runtime.sources.spec import Kind, Spec, parse_spec
from stts_runtime.sources.stream_reader import StreamReader
from stts_runtime.video.file_source import VideoFile


def open_source(
    spec: str,
    on_status: StatusListener | None = None,
    settings: LiveSettings | None = None,
    folder_fps: float = 2.0,
    frames_per_second: float | None = None,
    ring: PacketRing | None = None,
) -> Source:
    """Files and folders are opened at once, live sources by a thread of theirs: what is wrong with them is a status.

    Of files and folders only `frames_per_second` frames a second are read, if it is given; live sources give all.
    `ring` gets the packets of a live source that has some.
    Raises `SourceError` for a spec that names nothing, or a file that cannot be read.
    """
    parsed, settings = parse_spec(spec), settings or LiveSettings()
    if parsed.kind is Kind.FOLDER:
        return FileFrames(parsed.name, FolderReader(Path(parsed.place), folder_fps), on_status, frames_per_second)
    if parsed.kind is Kind.RECORDING:
        return _recording(parsed, on_status, settings, frames_per_second)
    return LiveSource(parsed.name, _connector(parsed, settings, ring), on_status, settings)


def has_packets(spec: str) -> bool:
    """Whether clips can be cut from this kind of source. Raises `SourceError` for what names nothing."""
    return parse_spec(spec).kind in (Kind.RECORDING, Kind.STREAM, Kind.LOOP)


def open_clips(spec: str, seconds: float, most_bytes: int) -> Clips | None:
    """What clips of this source are cut from: for a live one, a ring for `open_source`; None if it has no packets."""
    parsed = parse_spec(spec)
    if parsed.kind is Kind.RECORDING:
        is_url = "://" in parsed.place
        return RecordedPackets(parsed.place if is_url else str(Path(parsed.place).absolute()), most_bytes)
    return PacketRing(seconds, most_bytes) if parsed.kind in (Kind.STREAM, Kind.LOOP) else None


def _connector(spec: Spec, settings: LiveSettings, ring: PacketRing | None) -> Callable[[], Reader]:
    if spec.kind is Kind.LOOP:
        return partial(LoopReader, Path(spec.place), settings.nvdec, ring)
    if spec.kind is Kind.CAMERA:
        return partial(CameraReader, Path(spec.place))
    if spec.kind is Kind.STREAM:
        return partial(StreamReader, spec.place, settings, ring)
    pipeline = csi_pipeline(int(spec.place)) if spec.kind is Kind.CSI else spec.place
    return partial(GStreamerReader, pipeline_words(pipeline), settings)


def _recording(
    spec: Spec, on_status: StatusListener | None, settings: LiveSettings, frames_per_second: float | None
) -> FileFrames:
    video = VideoFile(spec.place, name=spec.name, nvdec=settings.nvdec, is_url="://" in spec.place)
    return FileFrames(spec.name, video, on_status, frames_per_second)
