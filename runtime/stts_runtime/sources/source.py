"""A source of frames: its state, its settings, and what its readers and consumers agree on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LiveSettings:
    """Seconds, but for the last two."""

    open_seconds: float = 10.0
    """For an answer to a new connection."""
    stall_seconds: float = 5.0
    """Without a packet before the connection is given up."""
    key_frame_seconds: float = 30.0
    """Without a whole picture although packets come; cameras may send a key frame only every ten seconds."""
    frozen_seconds: float = 10.0
    """With the very same picture before that is said."""
    first_pause: float = 0.5
    longest_pause: float = 30.0
    healthy_seconds: float = 10.0
    """With pictures before the next pause is a short one again."""
    refused_pause: float = 300.0
    """Before asking again a server that refuses us after it had let us in; cameras lock out who asks too often."""
    transport: Literal["tcp", "udp"] = "tcp"
    """Transport of RTSP."""
    nvdec: bool = False
    """Decode streams and files on the GPU where the driver's library is there and supports the codec, else on the CPU.
    Not by default: every connection takes some of the GPU's memory.
    """


class State(str, Enum):
    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    """Connected, and for too long no new picture came."""
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    """A file was read to its end, or the source was closed."""
    REFUSED = "refused"
    """It cannot work until something is changed: a wrong password, an unsupported codec."""


@dataclass(frozen=True)
class Status:
    """A state, why, and since when on the clock of `clock.now`. `reason` is one line without credentials."""

    state: State
    reason: str
    since: float

    @property
    def over(self) -> bool:
        """No frame will come any more."""
        return self.state in (State.ENDED, State.REFUSED)


@dataclass(frozen=True, eq=False)
class Frame:
    """`image` is BGR (H, W, 3) uint8, of the source's size, which may change on the way."""

    image: NDArray[np.uint8]
    seconds: float
    """On the source's own time line: 0 at its first frame, never backward, going on over reconnections."""
    captured: float
    """When it was taken, on the clock of `clock.now`; where the source does not tell, when it arrived."""


@dataclass(frozen=True, eq=False)
class Picture:
    pts_seconds: float | None
    """What the stream says; None where it says nothing."""
    arrived: float
    """On the clock of `clock.now`, before decoding."""
    image: Callable[[], NDArray[np.uint8]]
    """Converts to BGR (H, W, 3) uint8: only pictures that are taken pay for it."""
    brightness: Callable[[], NDArray[Any]]
    """Values of the whole picture that cost no conversion; equal for equal pictures."""


StatusListener = Callable[[Status], None]
"""Told of every change of state, in the thread that noticed it; it must return at once."""


class Source(Protocol):
    """Frames of one camera, stream or file. `take` and `close` are called from one thread."""

    name: str
    """As the user wrote it, without credentials."""
    live: bool
    """Whether time continues without us: then `take` returns the newest frame and drops the others."""

    @property
    def status(self) -> Status: ...

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that were not handed on, by cause: `late` (a fresher one was there), `corrupt`, `frozen`, ..."""
        ...

    @property
    def reconnections(self) -> int: ...

    def take(self, timeout_seconds: float) -> Frame | None:
        """The next frame (of a file: the next one in order; live: the freshest); None if none came in time, or when
        the status is over.
        """
        ...

    def ask_to_close(self) -> None:
        """Says that `close` comes next, and returns at once: many sources stop in the time of the slowest then."""
        ...

    def close(self) -> None:
        """Stops and gives everything back, within two seconds whatever the other side does; may be called twice."""
        ...


class Reader(Protocol):
    """One connection. Its methods block, are called from one thread and raise `faults.Lost` or a kind of it."""

    corrupt: int
    """Pictures that came damaged and were dropped."""

    def open(self) -> None: ...

    def read(self) -> Picture | None:
        """The next picture in order; None if something came that makes no picture (yet)."""
        ...

    def close(self) -> None:
        """Gives everything back, whether or not `open` went well."""
        ...
