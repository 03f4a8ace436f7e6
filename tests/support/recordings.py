"""Makes recordings of every kind with PyAV. Every frame says which it is: its brightness is that of `level`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.support.clips import level

SIZE = (96, 64)
FPS = 10

CODECS: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    "h264": ("mp4", "libx264", "yuv420p", {"crf": "12", "g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "h264-one-key": ("mkv", "libx264", "yuv420p", {"crf": "12", "g": "999", "bf": "2", "x264-params": "scenecut=0"}),
    "h264-avi": ("avi", "libx264", "yuv420p", {"crf": "12", "g": "12", "bf": "2", "x264-params": "scenecut=0"}),
    "h264-raw": ("h264", "libx264", "yuv420p", {"g": "9", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "h264-ts": ("ts", "libx264", "yuv420p", {"crf": "12", "g": "12", "bf": "2", "x264-params": "scenecut=0"}),
    "hevc-10-bits": ("mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none:keyint=12:bframes=2"}),
    "vp8": ("webm", "libvpx", "yuv420p", {"crf": "10", "b": "2M", "g": "12", "cpu-used": "8", "deadline": "realtime"}),
    "vp9": ("webm", "libvpx-vp9", "yuv420p", {"crf": "20", "g": "12", "cpu-used": "8", "deadline": "realtime"}),
    "av1": ("mp4", "libsvtav1", "yuv420p", {"crf": "20", "g": "12", "preset": "12"}),
    "mpeg4": ("avi", "mpeg4", "yuv420p", {"qscale": "2", "g": "12"}),
    "mpeg2": ("ts", "mpeg2video", "yuv420p", {"b": "4M", "g": "12", "bf": "2"}),
    "mjpeg": ("avi", "mjpeg", "yuvj420p", {"qscale": "2"}),
    "gif": ("gif", "gif", "gray", {}),
}  # fmt: skip
"""Container, encoder, pixel format and options of each kind."""


def write_recording(
    path: Path,
    kind: str = "h264",
    frames: int = 60,
    size: tuple[int, int] = SIZE,
    fps: int = FPS,
    texture: bool = False,
    start: int = 0,
) -> Path:
    """`texture` adds noise that every wrong frame, row or colour would change. `start` is the first frame's number."""
    _, encoder, pixels, options = CODECS[kind]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=fps, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for number in range(start, start + frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size, texture), format="rgb24")
            frame.pts, frame.time_base = number - start, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def picture(number: int, size: tuple[int, int] = SIZE, texture: bool = False) -> NDArray[np.uint8]:
    image = np.full((size[1], size[0], 3), level(number), np.int64)
    if texture:
        # No wider than leaves the mean where it is.
        width = min(40, level(number), 255 - level(number)) // 2
        coarse = np.random.default_rng(number).integers(-width, width + 1, (size[1] // 8 + 1, size[0] // 8 + 1, 3))
        coarse -= round(float(coarse.mean()))
        image += np.kron(coarse, np.ones((8, 8, 1), np.int64))[: size[1], : size[0]]
    return image.astype(np.uint8)


def remux(
    source: Path,
    target: Path,
    change: Callable[[int, av.Packet[av.VideoStream]], bool] = lambda *_: True,
    setup: Callable[[av.VideoStream], None] = lambda _: None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """The packets of `source` in another container. `change` may change each, and says whether it stays."""
    with av.open(str(source)) as reader, av.open(str(target), "w", container_options=dict(options or {})) as writer:
        video = reader.streams.video[0]
        stream = writer.add_stream_from_template(video)
        setup(stream)
        for number, packet in enumerate(one for one in reader.demux(video) if one.size):
            if change(number, packet):
                packet.stream = stream
                writer.mux(packet)
    return target


def write_films(path: Path, films: Iterable[tuple[str, int, bool]]) -> Path:
    """Several video streams in one file: an encoder each, so many frames, and whether it passes for a cover."""
    with av.open(str(path), "w") as container:
        streams = []
        for encoder, frames, is_cover in films:
            stream = container.add_stream(encoder, rate=FPS)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = SIZE
            stream.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(encoder, "yuv420p")
            if is_cover:
                stream.disposition = av.stream.Disposition.attached_pic
            streams.append((stream, frames, is_cover))
        for stream, frames, is_cover in streams:
            for number in range(frames):
                image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8) if is_cover else picture(number)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
