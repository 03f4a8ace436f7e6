"""Cameras of this machine (V4L2) through OpenCV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stts_runtime import clock
from stts_runtime.opencv import cv2
from stts_runtime.sources.faults import Lost, Refused, Stalled
from stts_runtime.sources.source import Picture


class CameraReader:
    def __init__(self, device: Path) -> None:
        """`device` may be a link, which is followed again at each connection: its camera may come back as another."""
        self.corrupt = 0
        self._device = device
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        # A camera that was pulled out may come back; one that we may not read will not change by itself.
        if not self._device.exists():
            raise Lost(f"there is no {self._device}; is the camera plugged in?")
        try:
            self._device.open("rb", buffering=0).close()
        except PermissionError:
            raise Refused(f"{self._device} may not be read; add this user to the group video") from None
        except OSError as error:
            raise Lost(f"{self._device} cannot be opened: {error.strerror}") from None
        self._capture = cv2.VideoCapture(str(self._device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise Lost(f"{self._device} gives no video; another program may be using it, or it only gives metadata")
        # The driver's queue would otherwise hold pictures that are seconds old.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Picture:
        assert self._capture is not None
        if not self._capture.grab():
            raise Stalled(f"{self._device} gives no picture")
        arrived = clock.now()
        _, image = self._capture.retrieve()
        if image is None:
            raise Lost(f"{self._device} gave a picture that cannot be decoded")
        bgr = image.astype(np.uint8, copy=False)
        return Picture(None, arrived, lambda: bgr, lambda: bgr)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
