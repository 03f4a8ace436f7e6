"""A decoded frame as an array: upright and in BGR, whatever the decoder gave."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData, SideDataContainer
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray

from stts_runtime.errors import SourceError

_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


class BgrConverter:
    """Converts frames of one source, one at a time. The same pixels as OpenCV's reader gives."""

    def __init__(self) -> None:
        # Kept, since the tables that HDR takes are made for seconds.
        self._reformatter = VideoReformatter()
        self._matrix: NDArray[np.int64] | None = None
        self._is_first = True

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, turned and mirrored as the file asks, HDR as an ordinary screen shows it.

        Raises `SourceError` for a pixel format that cannot be converted.
        """
        name, matrix = frame.format.name, self._matrix_of(frame)
        is_hdr = frame.color_trc in _HDR
        try:
            if name == "nv12":
                # NVDEC's form of yuv420p, whose colours FFmpeg would blend on the way to BGR and those of yuv420p not.
                frame = frame.reformat(format="yuv420p")
            image = self._reformatter.reformat(
                frame,
                format="bgr24",
                interpolation=Interpolation.BICUBIC,
                dst_color_trc=ColorTrc.BT709 if is_hdr else None,
                dst_color_primaries=ColorPrimaries.BT709 if is_hdr else None,
            ).to_ndarray()
        except (av.FFmpegError, ValueError):
            raise SourceError(f"pictures of the format {name} cannot be converted") from None
        return turn(image.astype(np.uint8, copy=False), matrix)

    def aspect(self, frame: av.VideoFrame, pixel_aspect: float) -> float:
        """Width over height of a frame as it is shown, whose pixels are `pixel_aspect` times as wide as high."""
        aspect = frame.width * pixel_aspect / frame.height
        return 1 / aspect if is_sideways(self._matrix_of(frame)) else aspect

    def _matrix_of(self, frame: av.VideoFrame) -> NDArray[np.int64] | None:
        """The first frame's holds for all."""
        if self._is_first:
            self._matrix, self._is_first = display_matrix(frame), False
        return self._matrix


def first_plane(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(rows, bytes) of the first plane, mostly the brightness, without converting anything."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    # Rows are padded with whatever lay there.
    return rows[:, : plane.width * -(-frame.format.components[0].bits // 8)]


def display_matrix(frame: av.VideoFrame) -> NDArray[np.int64] | None:
    """(2, 2): where the directions right and down go on the screen; None if the frame is shown as it is."""
    # What `frame.side_data` gives is kept by the frame and keeps the frame, until the garbage collector comes by.
    data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # PyAV types no argument
    if not isinstance(data, SideData):
        return None
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(np.int64)


def is_sideways(matrix: NDArray[np.int64] | None) -> bool:
    """Whether width and height change places."""
    return matrix is not None and bool(abs(matrix[0, 0]) < abs(matrix[0, 1]))


def turn(image: NDArray[np.uint8], matrix: NDArray[np.int64] | None) -> NDArray[np.uint8]:
    """Turns by quarters and mirrors; other angles go to the nearest quarter."""
    if matrix is None:
        return image
    if is_sideways(matrix):
        image, matrix = image.transpose(1, 0, 2), matrix[::-1]
    down, right = -1 if matrix[1, 1] < 0 else 1, -1 if matrix[0, 0] < 0 else 1
    return np.ascontiguousarray(image[::down, ::right])


def resize_to_square(frame_bgr: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """BGR (H, W, 3) uint8 of any size -> RGB (size, size, 3) uint8, bilinear without antialiasing.

    In float32 and rounded half to even, as the reference does it; OpenCV's own uint8 path differs in an eighth of the
    values.
    """
    if frame_bgr.shape[:2] == (size, size):
        # Every pixel is its own neighbour.
        return np.ascontiguousarray(frame_bgr[..., ::-1])
    resized = cv2.resize(frame_bgr.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.rint(resized[..., ::-1]).clip(0, 255).astype(np.uint8)
