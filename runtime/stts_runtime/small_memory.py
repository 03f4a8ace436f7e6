"""Keeps what the system counts as memory near what is in use, for programs that run for months.

Threads come and go with every connection, and glibc keeps for each what it once needed: the memory in use stays the
same, and what the system counts creeps up over hours. So threads share two arenas, where each core would have eight,
and what lies free in them goes back now and then. Sources: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS = 60.0
_ARENA_MAX, _ARENAS = -8, 2
"""The name of the setting in malloc.h, and what it is set to."""


@contextmanager
def small_memory(seconds: float = _SECONDS) -> Iterator[None]:
    """For threads that start in the block; trims every so often, in a thread of its own. Of no effect without glibc."""
    libc = ctypes.CDLL(None)
    trim = getattr(libc, "malloc_trim", None)
    if trim is None:
        yield
        return
    libc.mallopt(_ARENA_MAX, _ARENAS)
    done = threading.Event()
    thread = threading.Thread(target=_trim, args=(trim, seconds, done), name="trim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _trim(trim: Callable[[int], int], seconds: float, done: threading.Event) -> None:
    while not done.wait(seconds):
        trim(0)
