"""GStreamer pipelines in a `gst-launch-1.0` child: OpenCV's and FFmpeg's wheels hold no GStreamer.

The child sends YUV4MPEG2, whose header says the size, anew after each change. A pipeline is an argument of the child,
which other users of the machine can read with `ps`: for a URL with a password use rtsp:// and not gst:rtspsrc.
"""

from __future__ import annotations

import re
import shlex
import shutil
import time

import numpy as np

from stts_runtime.errors import MissingExtraError, SourceError
from stts_runtime.opencv import cv2
from stts_runtime.redaction import redacted
from stts_runtime.sources.child_pipe import ChildPipe
from stts_runtime.sources.faults import Lost, Refused
from stts_runtime.sources.picture import Picture
from stts_runtime.sources.settings import LiveSettings

# y4menc pads the rows of other widths, and not in every version.
_END = (
    "! videoconvert ! videoscale add-borders=false "
    "! video/x-raw,format=I420,width=[8,16384,8],height=[2,16384,2] ! y4menc ! fdsink sync=false"
)
# A pipeline that is none, or a wrong password: GStreamer tells them in words alone.
_REFUSAL = re.compile(r"erroneous pipeline|unauthorized|not authorized", re.IGNORECASE)
_SIZE = re.compile(rb"YUV4MPEG2 .*W(\d+) H(\d+)")
_CSI = (
    "nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),format=NV12 ! nvvidconv ! video/x-raw,format=I420"
)


def csi_pipeline(number: int) -> str:
    """A Jetson's camera with its own image processor. Not run on hardware yet."""
    return _CSI.format(number=number)


def pipeline_words(pipeline: str) -> list[str]:
    """Raises `MissingExtraError` if GStreamer is not installed, `SourceError` if quotation marks do not match."""
    if shutil.which("gst-launch-1.0") is None:
        raise MissingExtraError(
            "GStreamer is not installed, and gst: and csi: sources run its gst-launch-1.0: "
            "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
        )
    try:
        return shlex.split(pipeline)
    except ValueError:
        raise SourceError("the pipeline after gst: has a quotation mark without its partner") from None


class GStreamerReader:
    """Widths are scaled to a multiple of 8, heights of 2; usual sizes stay as they are."""

    def __init__(self, words: list[str], settings: LiveSettings) -> None:
        self.corrupt = 0
        self._words = words
        self._open_seconds, self._stall_seconds = settings.open_seconds, settings.stall_seconds
        self._child: ChildPipe | None = None
        self._height, self._width = 0, 0

    def open(self) -> None:
        try:
            self._child = ChildPipe(self._command)
        except OSError as error:
            raise Lost(f"gst-launch-1.0 cannot be started: {error.strerror}") from None
        self._take_header(self._line(self._open_seconds))

    def _command(self, descriptor: int) -> list[str]:
        return ["gst-launch-1.0", "-q", *self._words, *_END.split(), f"fd={descriptor}"]

    def read(self) -> Picture | None:
        line = self._line(self._stall_seconds)
        if not line.startswith(b"FRAME"):
            self._take_header(line)
            return None
        assert self._child is not None
        pixels = self._child.exactly(self._height * self._width * 3 // 2, self._stall_seconds)
        yuv = np.frombuffer(pixels, np.uint8).reshape(self._height * 3 // 2, self._width)
        return Picture(
            None,
            time.monotonic(),
            lambda: cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420).astype(np.uint8, copy=False),
            lambda: yuv,
        )

    def close(self) -> None:
        if self._child is not None:
            self._child.close()

    def _line(self, seconds: float) -> bytes:
        assert self._child is not None
        try:
            return self._child.line(seconds)
        except Lost as fault:
            # GStreamer's own words may repeat the pipeline.
            words = redacted(f"gst:{fault}").removeprefix("gst:")
            raise (Refused if _REFUSAL.search(words) else type(fault))(words) from None

    def _take_header(self, line: bytes) -> None:
        size = _SIZE.match(line)
        if size is None:
            raise Lost("the pipeline sent something that is no picture")
        self._width, self._height = int(size[1]), int(size[2])
