"""From what the user wrote to a source that runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stts_runtime.errors import MissingExtraError
from stts_runtime.sources.camera_reader import CameraReader
from stts_runtime.sources.file_frames import FileFrames
from stts_runtime.sources.folder_reader import FolderReader
from stts_runtime.sources.gstreamer_reader import GStreamerReader, csi_pipeline, pipeline_words
from stts_runtime.sources.live_source import LiveSource
from stts_runtime.sources.reader import Reader
from stts_runtime.sources.settings import LiveSettings
from stts_runtime.sources.source import Source, StatusListener
from stts_runtime.sources.spec import Kind, Spec, parse_spec


def open_source(
    spec: str,
    on_status: StatusListener | None = None,
    settings: LiveSettings | None = None,
    folder_fps: float = 2.0,
) -> Source:
    """Files and folders are opened at once, live sources by a thread of theirs: what is wrong with them is a status.

    Raises `SourceError` for a spec that names nothing, or a file that cannot be opened, and `MissingExtraError` for an
    optional part that is not installed.
    """
    parsed, settings = parse_spec(spec), settings or LiveSettings()
    if parsed.kind is Kind.FOLDER:
        return FileFrames(parsed.name, FolderReader(Path(parsed.place), folder_fps), on_status)
    if parsed.kind is Kind.RECORDING:
        return _recording(parsed, on_status, settings)
    return LiveSource(parsed.name, _connector(parsed, settings), on_status, settings)


def _connector(spec: Spec, settings: LiveSettings) -> Callable[[], Reader]:
    if spec.kind is Kind.LOOP:
        return _loop_connector(Path(spec.place), settings)
    if spec.kind is Kind.CAMERA:
        return partial(CameraReader, Path(spec.place))
    if spec.kind is Kind.STREAM:
        return _stream_connector(spec.place, settings)
    pipeline = csi_pipeline(int(spec.place)) if spec.kind is Kind.CSI else spec.place
    return partial(GStreamerReader, pipeline_words(pipeline), settings)


def _stream_connector(url: str, settings: LiveSettings) -> Callable[[], Reader]:
    try:
        from stts_runtime.sources.stream_reader import StreamReader
    except ModuleNotFoundError:
        raise _no_pyav() from None
    return partial(StreamReader, url, settings)


def _loop_connector(path: Path, settings: LiveSettings) -> Callable[[], Reader]:
    try:
        from stts_runtime.sources.loop_reader import LoopReader
    except ModuleNotFoundError:
        raise _no_pyav() from None
    return partial(LoopReader, path, settings.open_seconds, settings.nvdec)


def _recording(spec: Spec, on_status: StatusListener | None, settings: LiveSettings) -> FileFrames:
    try:
        from stts_runtime.sources.pyav_reader import PyAVReader
    except ModuleNotFoundError:
        raise _no_pyav() from None
    # A path is made absolute: FFmpeg takes what stands before a colon for a protocol.
    place = spec.place if "://" in spec.place else str(Path(spec.place).absolute())
    reader = PyAVReader(place, {}, settings.open_seconds, settings.open_seconds, settings.nvdec)
    return FileFrames(spec.name, reader, on_status)


def _no_pyav() -> MissingExtraError:
    return MissingExtraError(
        "PyAV is not installed, and streams and their files are read with it: pip install 'stts-export[stream]'"
    )
