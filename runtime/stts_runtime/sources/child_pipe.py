"""A child process whose output is read with a time limit, and which never outlives us."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from stts_runtime.sources.faults import Lost, Stalled

_LAST_WORDS = 400
_END_SECONDS = 1.0
_CHUNK = 1 << 20


class ChildPipe:
    """Reads what a child writes to the file descriptor that `command` is called with."""

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        """Raises `OSError` if the command cannot be started."""
        self._data, theirs = os.pipe()
        try:
            self._child = subprocess.Popen(
                [*_dying_with_us(), *command(theirs)],
                stdin=subprocess.DEVNULL,
                # Some elements talk there.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs],
                # A process group of its own, which `close` ends whole.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._data)
            raise
        finally:
            os.close(theirs)
        assert self._child.stderr is not None
        self._errors = self._child.stderr.fileno()
        # A grandchild may keep it open for longer than the child lives.
        os.set_blocking(self._errors, False)
        self._said = b""
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        for source in (self._data, self._errors):
            self._selector.register(source, selectors.EVENT_READ)

    def line(self, seconds: float) -> bytes:
        """Up to and without the next line feed. Raises `Stalled` and `Lost` as `exactly` does."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            self._fill(deadline, seconds)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return bytes(line)

    def exactly(self, count: int, seconds: float) -> bytes:
        """Raises `Stalled` if so many bytes do not come in time, `Lost` if the child ends before."""
        deadline = time.monotonic() + seconds
        while len(self._buffer) < count:
            self._fill(deadline, seconds)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def close(self) -> None:
        """Ends the child and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._selector.close()
        os.close(self._data)
        assert self._child.stderr is not None
        self._child.stderr.close()

    def _fill(self, deadline: float, seconds: float) -> None:
        ready = self._selector.select(max(deadline - time.monotonic(), 0))
        if not ready:
            raise Stalled(f"no picture for {seconds:g} s")
        # What it said first: it may be the reason why the data ended.
        for key, _ in sorted(ready, key=lambda pair: pair[0].fd != self._errors):
            self._take(key.fd)

    def _take(self, source: int) -> None:
        if source == self._data:
            chunk = os.read(source, _CHUNK)
            if not chunk:
                raise Lost(self._what_ended())
            self._buffer += chunk
        elif not self._hear():
            self._selector.unregister(source)

    def _hear(self) -> bytes:
        """Something from its standard error, of which the end is kept."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self._errors, 4096)
        self._said = (self._said + said)[-_LAST_WORDS:]
        return said

    def _what_ended(self) -> str:
        try:
            code = self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "the pipeline sent its end"
        while self._hear():
            pass
        words = " ".join(self._said.decode(errors="replace").partition("Additional debug info")[0].split())
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "ended"
        return f"the pipeline {how}: {words or 'no reason given'}"


def _dying_with_us() -> list[str]:
    """Asks the kernel to end the child with the thread that started it, however that ends."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
