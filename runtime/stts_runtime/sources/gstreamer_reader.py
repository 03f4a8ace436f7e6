"""GStreamer pipelines in a `gst-launch-1.0` child: OpenCV's and FFmpeg's wheels hold no GStreamer.

The child sends YUV4MPEG2, whose header says the size, again after each change. A pipeline is an argument of the child,
which other users of the machine can read with `ps`: for a URL with a password use rtsp:// and not gst:rtspsrc.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from stts_runtime import clock
from stts_runtime.errors import MissingExtraError, SourceError
from stts_runtime.opencv import cv2
from stts_runtime.sources.faults import Lost, Refused, Stalled
from stts_runtime.sources.source import LiveSettings, Picture
from stts_runtime.text import redacted

_LAST_WORDS = 400
_END_SECONDS = 1.0
_CHUNK = 1 << 20


class ChildPipe:
    """Reads what a child writes to the file descriptor that `command` is called with."""

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        """Raises `OSError` if the command cannot be started."""
        self._data, theirs = os.pipe()
        try:
            self._child = subprocess.Popen(
                [*_dying_with_us(), *command(theirs)],
                stdin=subprocess.DEVNULL,
                # Some elements talk there.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs],
                # A process group of its own, which `close` ends whole.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._data)
            raise
        finally:
            os.close(theirs)
        assert self._child.stderr is not None
        self._errors = self._child.stderr.fileno()
        # A grandchild may keep it open for longer than the child lives.
        os.set_blocking(self._errors, False)
        self._said = b""
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        for source in (self._data, self._errors):
            self._selector.register(source, selectors.EVENT_READ)

    def line(self, seconds: float) -> bytes:
        """Up to and without the next line feed. Raises `Stalled` and `Lost` as `exactly` does."""
        deadline = clock.now() + seconds
        while b"\n" not in self._buffer:
            self._fill(deadline, seconds)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return bytes(line)

    def exactly(self, count: int, seconds: float) -> bytes:
        """Raises `Stalled` if this many bytes do not come in time, `Lost` if the child ends before."""
        deadline = clock.now() + seconds
        while len(self._buffer) < count:
            self._fill(deadline, seconds)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def close(self) -> None:
        """Ends the child and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._selector.close()
        os.close(self._data)
        assert self._child.stderr is not None
        self._child.stderr.close()

    def _fill(self, deadline: float, seconds: float) -> None:
        ready = self._selector.select(max(deadline - clock.now(), 0))
        if not ready:
            raise Stalled(f"no picture for {seconds:g} s")
        # What it said first: it may be the reason why the data ended.
        for key, _ in sorted(ready, key=lambda pair: pair[0].fd != self._errors):
            self._take(key.fd)

    def _take(self, source: int) -> None:
        if source == self._data:
            chunk = os.read(source, _CHUNK)
            if not chunk:
                raise Lost(self._what_ended())
            self._buffer += chunk
        elif not self._hear():
            self._selector.unregister(source)

    def _hear(self) -> bytes:
        """Something from its standard error, of which the end is kept."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self._errors, 4096)
        self._said = (self._said + said)[-_LAST_WORDS:]
        return said

    def _what_ended(self) -> str:
        try:
            code = self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "the pipeline sent its end"
        while self._hear():
            pass
        words = " ".join(self._said.decode(errors="replace").partition("Additional debug info")[0].split())
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "ended"
        return f"the pipeline {how}: {words or 'no reason given'}"


def _dying_with_us() -> list[str]:
    """Asks the kernel to end the child with the thread that started it, however that ends."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


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
            clock.now(),
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
            raise Lost("the pipeline sent something that is not a picture")
        self._width, self._height = int(size[1]), int(size[2])
