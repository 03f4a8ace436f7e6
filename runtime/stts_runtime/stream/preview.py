"""A video of what the model saw: kept patches bright, dropped ones dark, the latest answer above.

MP4 in fragments, one a frame: a killed process leaves a file that plays up to its last moments.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.errors import SinkError
from stts_runtime.marks import fresh_points, marked
from stts_runtime.overlay import Image, caption, dimmed
from stts_runtime.places import unwritable
from stts_runtime.point_records import PointRecord
from stts_runtime.pointing import words_of
from stts_runtime.records import Record, StreamAnswer
from stts_runtime.sinks.line_file import Series
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.plan import StreamPlan
from stts_runtime.tell import Seldom, Tell

_MAX_WIDTH = 640
_LINES = 3
_LETTER_WIDTH = 8
_TICKS = 1000
_KEY_EVERY = 30
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a file is made again after a failure; they double."""
_OPTIONS = {"movflags": "empty_moov+default_base_moof+frag_every_frame", "flush_packets": "1"}


class Preview:
    """Writes `name.000001.mp4` and on beside `path`: a new file every `segment_seconds`, of which `keep` stay.

    After a failure, as on a full disk, it waits, longer each time, before it makes a file again; a file in which no
    picture came to lie does not stay.
    """

    def __init__(self, path: Path, segment_seconds: float = 3600.0, keep: int = 24) -> None:
        self._series, self._segment_seconds = Series(path, keep), segment_seconds
        self._segment: _Segment | None = None
        self._failures, self._again_at = 0, -math.inf

    def show(
        self,
        image: NDArray[np.uint8],
        kept: NDArray[np.bool_],
        text: str,
        seconds: float,
        points: Sequence[PointRecord] = (),
    ) -> None:
        """Adds a picture: `image` is BGR (H, W, 3), `kept` (G,), `seconds` on the stream's own time line; `points`, of
        the frame 0, are marked.

        A picture that is no newer than the last is left out, and so are those that come while it waits. Raises
        `SinkError` if it cannot be written.
        """
        if clock.now() < self._again_at:
            return
        try:
            self._segment_at(seconds, image).add(dimmed(image, kept), text, seconds, points)
        except (OSError, av.error.FFmpegError) as error:
            raise SinkError(f"the preview: {unwritable(self._give_up(), error)}") from None
        self._failures = 0

    def close(self) -> None:
        """Raises `SinkError` if the end of the file cannot be written."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except (OSError, av.error.FFmpegError) as error:
            raise SinkError(f"the preview: {unwritable(segment.path, error)}") from None

    def _give_up(self) -> Path:
        """What could not be written, for the message."""
        self._again_at = clock.now() + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 30))
        self._failures += 1
        segment, self._segment = self._segment, None
        if segment is None:
            return self._series.folder
        segment.abandon()
        return segment.path

    def _segment_at(self, seconds: float, image: NDArray[np.uint8]) -> _Segment:
        if self._segment is not None and seconds - self._segment.begins >= self._segment_seconds:
            self.close()
        if self._segment is None:
            self._series.prune(room_for=1)
            self._segment = _Segment(self._series.next(), image.shape[1] / image.shape[0], seconds)
            self._segment.start()
        return self._segment


class Previews:
    """A listener of the pipeline: one video for each stream, with its latest answer."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._folder, self._say = folder, Seldom(tell)
        self._previews: dict[str, Preview] = {}
        self._answers: dict[str, StreamAnswer] = {}
        self._points: dict[str, list[PointRecord]] = {}
        """Of all answers about the newest window that was answered about."""

    def saw(self, channel: Channel, look: Look) -> None:
        seen, answer = look.seen, self._answers.get(channel.name)
        text, points = "" if answer is None else words_of(answer.answer), self._points.get(channel.name, [])
        try:
            self._previews[channel.name].show(
                look.frame.image, seen.output.kept, text, seen.seconds, fresh_points(points, seen.seconds)
            )
        except SinkError as error:
            self._say(f"{channel.name}: {error}")

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            before = self._answers.get(record.stream)
            is_same_window = before is not None and before.times_seconds[-1] == record.times_seconds[-1]
            earlier = self._points[record.stream] if is_same_window else []
            self._answers[record.stream], self._points[record.stream] = record, [*earlier, *record.points]

    def added(self, channel: Channel, plan: StreamPlan) -> None:  # noqa: ARG002  # every observer gets both
        """In the pipeline's thread, as the next two."""
        self._previews[channel.name] = Preview(self._folder / f"{channel.name}.mp4")

    def changed(self, channel: Channel, plan: StreamPlan) -> None:
        """Its video goes on."""

    def removed(self, stream: str) -> None:
        self._answers.pop(stream, None)
        self._points.pop(stream, None)
        self._close(stream, self._previews.pop(stream))

    def close(self) -> None:
        for name, preview in self._previews.items():
            self._close(name, preview)

    def _close(self, name: str, preview: Preview) -> None:
        try:
            preview.close()
        except SinkError as error:
            self._say(f"{name}: {error}")


class _Segment:
    """One file; its proportions are those of its first picture."""

    def __init__(self, path: Path, aspect: float, begins: float) -> None:
        self.path, self.begins = path, begins
        self._last, self._whole_bytes = -1, 0
        self._width = _MAX_WIDTH
        self._height = max(2, round(_MAX_WIDTH / aspect / 2) * 2)
        self._file: OutputContainer = av.open(str(path), "w", format="mp4", options=_OPTIONS)
        self._stream = self._video()

    def start(self) -> None:
        """Writes what stands before the first picture."""
        self._file.start_encoding()

    def abandon(self) -> None:
        """After a failure: whole pictures stay, as after kill -9; a file without one goes."""
        # It would write the end once more.
        with suppress(OSError, av.error.FFmpegError):
            self._file.close()
        with suppress(FileNotFoundError):
            if self._whole_bytes:
                os.truncate(self.path, self._whole_bytes)
            else:
                self.path.unlink()

    def add(self, image: Image, text: str, seconds: float, points: Sequence[PointRecord]) -> None:
        ticks = round((seconds - self.begins) * _TICKS)
        if ticks <= self._last:
            return
        self._last = ticks
        scaled = cv2.resize(image, (self._width, self._height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        scaled = marked(scaled, points, 0)
        lines = textwrap.wrap(text, self._width // _LETTER_WIDTH)[:_LINES]
        picture = np.vstack([caption(self._width, lines + [""] * (_LINES - len(lines))), scaled])
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._file.mux(self._stream.encode(frame))
        self._whole_bytes = self.path.stat().st_size

    def close(self) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()

    def _video(self) -> VideoStream:
        # Every wheel of PyAV has x264; an FFmpeg of somebody's own may not.
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        fast = {"preset": "veryfast", "tune": "zerolatency"} if codec == "libx264" else {}
        stream = self._file.add_stream(codec, rate=_TICKS, options=fast)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._width, self._height + caption(2, [""] * _LINES).shape[0]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.gop_size = _KEY_EVERY
        return stream
