"""Waits for what other threads do, and says where each of them is if it does not come.

Patience is counted in looks and not by a clock: a process that was stopped for a minute, as with its whole machine,
would come back with its time over before its other threads ran again.
"""

from __future__ import annotations

import faulthandler
import tempfile
import threading
import time
from collections.abc import Callable

import pytest

PATIENCE_SECONDS = 15.0
_LOOK_SECONDS = 0.02


def until(there: Callable[[], object], seconds: float = PATIENCE_SECONDS, said: object = None) -> None:
    """`said` is what the test heard so far, for the message."""
    for _ in range(round(seconds / _LOOK_SECONDS)):
        if there():
            return
        time.sleep(_LOOK_SECONDS)
    if not there():
        pytest.fail(f"it did not happen in {seconds:g} s; said so far: {said}\n{stacks()}")


def ended(thread: threading.Thread, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for its end. One that comes too late is told from one that never comes."""
    if _ends(thread, seconds):
        return
    found = stacks()
    late = "ended while this was written" if _ends(thread, seconds) else f"still ran {seconds:g} s later"
    pytest.fail(f"{thread.name} ran on for {seconds:g} s and {late}; the threads were at\n{found}")


def _ends(thread: threading.Thread, seconds: float) -> bool:
    for _ in range(round(seconds / _LOOK_SECONDS)):
        thread.join(_LOOK_SECONDS)
        if not thread.is_alive():
            return True
    return False


def stacks() -> str:
    """Of all threads of this process."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode()
