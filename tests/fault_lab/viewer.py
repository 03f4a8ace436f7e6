"""Somebody who looks at a source and writes down what happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from stts_runtime import clock
from stts_runtime.sources import LiveSettings, State, Status, open_source

PATIENT = 12.0
"""Seconds after which waiting fails, far above what anything takes."""
QUICK = LiveSettings(
    open_seconds=2.0,
    stall_seconds=1.0,
    key_frame_seconds=8.0,
    frozen_seconds=1.0,
    first_pause=0.2,
    longest_pause=1.0,
    healthy_seconds=1.0,
)


@dataclass(frozen=True)
class Seen:
    seconds: float
    age: float
    size: tuple[int, int]
    """Width and height."""
    brightness: float
    contrast: float
    at: float


class Viewer:
    """Takes every frame, or one every `pause` seconds."""

    def __init__(self, spec: str, pause: float = 0.0, settings: LiveSettings = QUICK) -> None:
        self.statuses: list[Status] = []
        self.frames: list[Seen] = []
        self._pause, self._leaves = pause, False
        self.source = open_source(spec, self.statuses.append, settings)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def until(self, happened: Callable[[], bool], what: str) -> float:
        """Seconds until `happened()`; fails after `PATIENT` seconds."""
        began = time.monotonic()
        while not happened():
            told = [f"{status.state.value}: {status.reason}" for status in self.statuses]
            assert time.monotonic() - began < PATIENT, f"{what} did not happen; {told}"
            time.sleep(0.01)
        return time.monotonic() - began

    def until_state(self, state: State) -> float:
        """Until it was told of this state."""
        return self.until(lambda: any(one.state is state for one in self.statuses), state.value)

    def until_frames(self, count: int) -> float:
        """Until so many more frames came."""
        begin = len(self.frames)
        return self.until(lambda: len(self.frames) >= begin + count, f"{count} frames")

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leaves = True
        self._thread.join()
        began = time.monotonic()
        self.source.close()
        assert time.monotonic() - began < 2

    def _look(self) -> None:
        while not self._leaves:
            frame = self.source.take(0.1)
            if frame is not None:
                now, image = clock.now(), frame.image
                size = image.shape[1], image.shape[0]
                self.frames.append(
                    Seen(frame.seconds, now - frame.captured, size, float(image.mean()), float(image.std()), now)
                )
                time.sleep(self._pause)
            elif self.source.status.over:
                time.sleep(0.01)
