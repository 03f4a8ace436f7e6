"""How patient a live source is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """Of RTSP."""
    nvdec: bool = False
    """Decode streams and files on the GPU where the driver's library is there and supports the codec, else on the CPU.
    Not by default: every connection takes some of the GPU's memory.
    """
