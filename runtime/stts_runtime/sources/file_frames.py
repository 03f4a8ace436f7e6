"""A source that waits for us: frames of a file or folder, in order, without a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stts_runtime import clock
from stts_runtime.errors import SourceError
from stts_runtime.sources.source import Frame, State, Status, StatusListener
from stts_runtime.video.clock import Times
from stts_runtime.video.window import due_frames


class Pictures(Protocol):
    """Pictures whose times are known before they are decoded."""

    pts_seconds: Times
    notes: list[str]
    """What is wrong with them; reading may add to it."""

    def images(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        """Each of these numbers with its BGR image; None for one that does not decode."""
        ...


class FileFrames:
    """Drops nothing but what is damaged. A file that breaks off ends there, and the status says why."""

    live = False
    reconnections = 0

    def __init__(
        self,
        name: str,
        pictures: Pictures,
        on_status: StatusListener | None = None,
        frames_per_second: float | None = None,
    ) -> None:
        """With `frames_per_second` only the frames that are due are decoded, else all."""
        self.name = name
        self._pictures, self._on_status = pictures, on_status
        seconds = pictures.pts_seconds
        numbers = np.arange(len(seconds)) if frames_per_second is None else due_frames(seconds, frames_per_second)
        self._images, self._wanted, self._dropped = pictures.images(numbers), len(numbers), 0
        self._told = len(pictures.notes)
        self._status = Status(State.LIVE, "; ".join(["reading", *pictures.notes]), clock.now())
        self._tell()

    @property
    def status(self) -> Status:
        return self._status

    @property
    def drops(self) -> Mapping[str, int]:
        return {"corrupt": self._dropped}

    def take(self, timeout_seconds: float) -> Frame | None:  # noqa: ARG002 - a file needs no patience
        if self._status.over:
            return None
        try:
            for number, image in self._images:
                if image is not None:
                    return Frame(image, float(self._pictures.pts_seconds[number]), clock.now())
                self._dropped += 1
        except SourceError as error:
            self._end(State.ENDED, f"broke off: {error}")
        else:
            self._end(*self._ending())
        return None

    def ask_to_close(self) -> None:
        """Nothing here takes time to stop."""

    def close(self) -> None:
        self._end(State.ENDED, "closed")

    def _ending(self) -> tuple[State, str]:
        found = self._pictures.notes[self._told :]
        if self._dropped == self._wanted:
            return State.REFUSED, "; ".join([f"none of its {self._wanted} frames could be decoded", *found])
        dropped = [f"{self._dropped} of {self._wanted} frames did not decode"] if self._dropped else []
        return State.ENDED, "; ".join(["read to its end", *dropped, *found])

    def _end(self, state: State, reason: str) -> None:
        if not self._status.over:
            # What is left of it holds the file open.
            self._images = iter(())
            self._status = Status(state, reason, clock.now())
            self._tell()

    def _tell(self) -> None:
        if self._on_status is not None:
            self._on_status(self._status)
