"""A source that waits for us: every frame of a file or folder, in order, without a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from stts_runtime.errors import SourceError
from stts_runtime.sources.faults import Ended
from stts_runtime.sources.frame import Frame
from stts_runtime.sources.picture import Picture
from stts_runtime.sources.reader import Reader
from stts_runtime.sources.source import StatusListener
from stts_runtime.sources.state import State, Status
from stts_runtime.sources.timeline import FileTimeline


class FileReader(Reader, Protocol):
    @property
    def nominal_step_seconds(self) -> float: ...


class FileFrames:
    """Drops nothing but what is damaged. A file that breaks off ends there, and the status says why."""

    live = False
    reconnections = 0

    def __init__(self, name: str, reader: FileReader, on_status: StatusListener | None = None) -> None:
        """Raises `SourceError` if it cannot be opened."""
        self.name = name
        self._reader, self._on_status = reader, on_status
        try:
            reader.open()
            self._timeline = FileTimeline(reader.nominal_step_seconds)
        except SourceError as error:
            reader.close()
            raise SourceError(f"{name}: {error}") from None
        self._status = Status(State.LIVE, "reading", time.monotonic())
        self._tell()

    @property
    def status(self) -> Status:
        return self._status

    @property
    def drops(self) -> Mapping[str, int]:
        return {"corrupt": self._reader.corrupt}

    def take(self, timeout_seconds: float) -> Frame | None:  # noqa: ARG002 - a file needs no patience
        picture = self._next()
        if picture is None:
            return None
        return Frame(picture.image(), self._timeline.place(picture.pts_seconds), picture.arrived)

    def close(self) -> None:
        self._end("closed")

    def _next(self) -> Picture | None:
        try:
            while not self._status.over:
                if picture := self._reader.read():
                    return picture
        except Ended:
            self._end("read to its end")
        except SourceError as error:
            self._end(f"broke off: {error}")
        return None

    def _end(self, reason: str) -> None:
        if not self._status.over:
            self._reader.close()
            self._status = Status(State.ENDED, reason, time.monotonic())
            self._tell()

    def _tell(self) -> None:
        if self._on_status is not None:
            self._on_status(self._status)
