"""What a question is about, in memory: a clip's frames or a picture, as the engines take them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stts_runtime.session import Wanted
from stts_runtime.video import Window


class ReadKey(NamedTuple):
    """All that the frames of a clip or picture depend on, beside the bundle, which a server has one of."""

    sha256: bytes
    """Of the file; of several pictures, of their own in their order."""
    name: str
    """Stands in records and notes."""
    kind: str
    """What it is looked at as: of an animated GIF the first picture, or all of it; of pictures, frames of one clip."""
    wanted: Wanted
    fps: float | None
    """As in `ClipKwargs`."""


class LookKey(NamedTuple):
    """All that a look depends on, beside the bundle."""

    variant: str
    """That of pictures, where a stream's graphs look at them, is `KEY_FRAMES`."""
    sha256: bytes
    """Of the frames and their times."""


@dataclass(frozen=True, eq=False)
class ReadLook:
    """Frames in memory, and the variant that takes them."""

    window: Window
    variant: str
    notes: Sequence[str]
    key: LookKey = field(init=False)

    def __post_init__(self) -> None:
        frames = np.ascontiguousarray(self.window.frames)
        digest = hashlib.sha256(repr(frames.shape).encode())
        digest.update(frames.data)
        digest.update(np.asarray(self.window.times_seconds, np.float64).tobytes())
        object.__setattr__(self, "key", LookKey(self.variant, digest.digest()))

    @property
    def size_bytes(self) -> int:
        return self.window.frames.nbytes
