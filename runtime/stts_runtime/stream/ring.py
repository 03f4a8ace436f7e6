"""The last frames of a stream as visual tokens: what an answer is about. Its memory is fixed, whatever runs by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stts_runtime.engines import LiveOutput


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame that went through the vision engine; the picture itself is not kept."""

    output: LiveOutput
    seconds: float
    """On the stream's own time line."""
    captured: float
    """On the clock of `time.monotonic`."""
    is_key: bool
    novelty: float
    vision_ms: float


class Ring:
    """At most `frames` frames with at most `rows` visual tokens between them; the oldest go first."""

    def __init__(self, frames: int, rows: int) -> None:
        self._frames: deque[SeenFrame] = deque(maxlen=frames)
        self.length, self._rows = frames, rows

    def push(self, frame: SeenFrame) -> None:
        self._frames.append(frame)
        while sum(len(one.output.visual_tokens) for one in self._frames) > self._rows:
            self._frames.popleft()

    @property
    def is_full(self) -> bool:
        return len(self._frames) == self.length

    @property
    def newest(self) -> SeenFrame | None:
        return self._frames[-1] if self._frames else None

    @property
    def frames(self) -> list[SeenFrame]:
        """From the oldest to the newest."""
        return list(self._frames)

    @property
    def visual_tokens(self) -> NDArray[np.generic]:
        """(rows, width), frame by frame."""
        return np.concatenate([one.output.visual_tokens for one in self._frames])

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(frames, groups)."""
        return np.stack([one.output.kept for one in self._frames])
