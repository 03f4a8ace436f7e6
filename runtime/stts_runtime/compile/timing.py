"""TensorRT's timing cache: which kernel was fastest for what, on this device, kept from build to build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stts_runtime.outputs import written_whole


def attach_timing_cache(config: Any, path: Path) -> Any:
    """Gives a builder's configuration the cache in `path`, or an empty one if that is none for this device.

    Returns the cache, which must live until the engine is built; None if TensorRT takes none.
    """
    stored = path.read_bytes() if path.exists() else b""
    for content in dict.fromkeys((stored, b"")):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def save_timing_cache(cache: Any, path: Path) -> None:
    with written_whole(path) as scratch:
        scratch.write_bytes(cache.serialize())
