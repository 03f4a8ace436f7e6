"""Decoding on NVIDIA's video engine, through FFmpeg."""

from __future__ import annotations

import ctypes
from functools import cache

LIBRARY = "libnvcuvid.so.1"
MISSING = (
    f"the driver's library {LIBRARY} does not load, so video is decoded on the CPU; it comes with the NVIDIA driver, "
    "in containers with NVIDIA_DRIVER_CAPABILITIES=video,compute,utility"
)


@cache
def has_nvdec() -> bool:
    """Whether the driver's decoder can be loaded: FFmpeg opens nothing if it is asked for in vain."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True
