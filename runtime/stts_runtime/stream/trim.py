"""Gives memory that nobody uses back to the system, for programs that run for months.

Threads come and go with every connection, and glibc keeps for each what it once needed: the memory in use stays the
same, and what the system counts creeps up over hours. Source: malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS = 60.0


@contextmanager
def trimmed(seconds: float = _SECONDS) -> Iterator[None]:
    """Trims every so often, in a thread of its own, for as long as the block runs. Of no effect without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        yield
        return
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
