"""TensorRT's timing cache: which kernel was fastest for what, on this device, kept from build to build.

It saves time and nothing hangs on it: one that cannot be read or written is no error, and a note.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stts_runtime.errors import UserError
from stts_runtime.outputs import written_whole
from stts_runtime.places import unwritable


def attach_timing_cache(config: Any, path: Path) -> Any:
    """Gives a builder's configuration the cache in `path`, or an empty one if that is none for this device.

    Returns the cache, which must live until the engine is built; None if TensorRT takes none.
    """
    for content in dict.fromkeys((_stored(path), b"")):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def save_timing_cache(config: Any, cache: Any, path: Path) -> str | None:
    """Merges what a build learned into the file, which other builds may have written since it was read.

    Returns what there is to say if that was not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent), written_whole(path) as scratch:
            stored = _stored(path)
            other = config.create_timing_cache(stored) if stored else None
            if other is not None:
                # A cache of another device or version adds nothing, and is replaced.
                cache.combine(other, ignore_mismatch=False)
            scratch.write_bytes(cache.serialize())
    except (OSError, UserError) as error:
        why = unwritable(path, error) if isinstance(error, OSError) else error
        return f"the timing cache was not kept, so the next build is no faster: {why}"
    return None


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Waits for other processes that are at the caches of this folder; the lock ends with the process, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _stored(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
