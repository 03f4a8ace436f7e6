"""A connection that is over leaves nothing behind: decoders and pictures are large, and cameras come and go for months.

The garbage collector is off, since it comes by about once an hour in a program that hardly makes any objects.
"""

from __future__ import annotations

import errno
import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from stts_runtime.sources.pump import Pump
from stts_runtime.sources.source import LiveSettings, Picture
from stts_runtime.sources.stream_reader import PyAVReader
from stts_runtime.video.pixels import BgrConverter
from tests.support.recordings import write_recording
from tests.support.waiting import until


@contextmanager
def no_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Broken(PyAVReader):
    """The other side breaks the connection after some packets."""

    def open(self) -> None:
        super().open()
        self._packets = self._some(self._packets)

    @staticmethod
    def _some(packets: Iterator[av.Packet[av.VideoStream]]) -> Iterator[av.Packet[av.VideoStream]]:
        for _ in range(20):
            yield next(packets)
        raise av.error.ConnectionResetError(errno.ECONNRESET, "reset")


def followed(kind: type[PyAVReader], path: Path) -> tuple[str, int, list[weakref.ref[object]]]:
    """One connection to its end: why it ended, how many pictures came, and what it was made of."""

    def give(_: Pump, picture: Picture, __: bool) -> None:
        picture.image()

    reader = kind(str(path), {}, open_seconds=60.0, read_seconds=60.0, nvdec=False)
    pump = Pump(reader, LiveSettings(), give)
    pump.start()
    until(lambda: not pump.running)
    return str(pump.fault()), pump.pictures, [weakref.ref(reader), weakref.ref(pump)]


@pytest.mark.parametrize(
    ("kind", "is_film", "words"),
    [
        (PyAVReader, True, "the other side ended the stream"),
        (Broken, True, "the other side broke the connection"),
        (PyAVReader, False, "what arrived is not a video that FFmpeg knows"),
    ],
)
def test_a_lost_connection_is_freed_at_once(tmp_path: Path, kind: type[PyAVReader], is_film: bool, words: str) -> None:
    path = tmp_path / "a.ts"
    if is_film:
        write_recording(path, "h264-ts")
    else:
        path.write_bytes(b"no video " * 1000)
    with no_collections():
        said, pictures, parts = followed(kind, path)
        # The thread says that it is over a moment before it lets go of what it called.
        until(lambda: not [one for one in parts if one() is not None])
    assert (said, pictures > 0) == (words, is_film)


def test_a_picture_that_was_converted_is_held_by_nobody() -> None:
    frame = av.VideoFrame(32, 16, "yuv420p")
    before = sys.getrefcount(frame)
    BgrConverter()(frame)
    assert sys.getrefcount(frame) == before
