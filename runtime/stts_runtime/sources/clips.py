"""What a clip of some seconds around a picture is cut from, whatever kind of source it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stts_runtime.video.remux import Codec, CodedPacket


@dataclass(frozen=True)
class Moment:
    """A frame's, as in `Frame`."""

    seconds: float
    captured: float


@dataclass(frozen=True)
class Cut:
    """Packets of a clip, from a key frame on."""

    codec: Codec
    packets: list[CodedPacket]
    before: float
    """Seconds from its first packet to the moment that was asked for."""
    after: float
    """Seconds from there to its last."""


def ending(packets: Sequence[CodedPacket], last: float) -> list[CodedPacket]:
    """Up to the picture of stamp `last`, with those that are shown later and that pictures before it refer to."""
    shown = [place for place, one in enumerate(packets) if one.pts <= last]
    return list(packets[: max(shown, default=0) + 1])


class Clips(Protocol):
    """For any thread."""

    def due(self, moment: Moment, after: float) -> float:
        """When the seconds after the moment are there, on the clock of `clock.now`."""
        ...

    def cut(self, moment: Moment, before: float, after: float) -> Cut:
        """As much of the seconds as there is, and up to a key frame's interval more at the start.

        Raises `SourceError` where there is nothing of that moment.
        """
        ...
