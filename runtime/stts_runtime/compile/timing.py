"""TensorRT's timing cache: which kernel was fastest for what, on this device, kept from build to build.

It saves time and nothing hangs on it: one that cannot be read or written is no error.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from stts_runtime.outputs import written_whole


def attach_timing_cache(config: Any, path: Path) -> Any:
    """Gives a builder's configuration the cache in `path`, or an empty one if that is none for this device.

    Returns the cache, which must live until the engine is built; None if TensorRT takes none.
    """
    for content in dict.fromkeys((_stored(path), b"")):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def save_timing_cache(cache: Any, path: Path) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as scratch:
            scratch.write_bytes(cache.serialize())


def _stored(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
