"""A recording as if it came from a camera: every picture at its moment, and from the start again at the end."""

from __future__ import annotations

import time
from pathlib import Path

from stts_runtime.sources.faults import Ended
from stts_runtime.sources.picture import Picture
from stts_runtime.sources.pyav_reader import PyAVReader

_LONGEST_STEP_SECONDS = 1.0
"""For the last picture of a round, which the file gives no end."""


class LoopReader(PyAVReader):
    def __init__(self, path: Path, open_seconds: float, nvdec: bool) -> None:
        # A path is made absolute: FFmpeg takes what stands before a colon for a protocol.
        super().__init__(str(path.absolute()), {}, open_seconds, open_seconds, nvdec)
        self._began: float | None = None
        """When the round began, on the clock of `time.monotonic`, as the next two; None before its first picture."""
        self._due = self._round_ends = 0.0

    def read(self) -> Picture | None:
        """As any reader's, at the picture's moment; its time is that of its arrival, which does not jump back."""
        try:
            picture = super().read()
        except Ended:
            self.close()
            self.open()
            self._began = None
            return None
        if picture is None or picture.pts_seconds is None:
            return None
        time.sleep(max(0.0, self._moment(picture.pts_seconds) - time.monotonic()))
        return Picture(None, time.monotonic(), picture.image, picture.brightness)

    def _moment(self, seconds: float) -> float:
        """When a picture is due; a round begins when the last picture of the one before has been there for a while."""
        if self._began is None:
            self._began = max(time.monotonic(), self._round_ends) - seconds
        before, self._due = self._due, self._began + seconds
        self._round_ends = self._due + min(self._due - before, _LONGEST_STEP_SECONDS)
        return self._due
