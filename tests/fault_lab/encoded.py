"""Pictures, encoded the way cameras do it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import cv2
import numpy as np
from numpy.typing import NDArray


def drawn(number: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """Picture `number`: a white bar that wanders over grey."""
    image = np.full((height, width, 3), 90, dtype=np.uint8)
    left = 4 * number % (width - 8)
    image[:, left : left + 8] = 255
    return image


def h264(pictures: int, width: int, height: int, container: str = "h264", first_seconds: float = 0.0) -> list[bytes]:
    """One chunk a picture, at 25 a second, with a key frame every second."""
    out = io.BytesIO()
    chunks, written = [], 0
    with av.open(out, "w", format=container) as file:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "25"}
        stream = file.add_stream("libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options=options)
        for number in range(pictures):
            frame = av.VideoFrame.from_ndarray(drawn(number, width, height), format="bgr24")
            frame.pts = number + int(25 * first_seconds)
            file.mux(stream.encode(frame))
            chunks.append(out.getvalue()[written:])
            written = len(out.getvalue())
        file.mux(stream.encode(None))
    chunks.append(out.getvalue()[written:])
    return chunks


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", drawn(number))[1].tobytes()


def jpeg_parts(numbers: Iterator[int]) -> Iterator[bytes]:
    """A stream of `multipart/x-mixed-replace; boundary=frame`."""
    for number in numbers:
        part = jpeg(number)
        yield b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(part), part)
