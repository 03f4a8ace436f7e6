"""Programs that tests start: every wait for one has a bound, and nothing that it started outlives it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any
from uuid import uuid4

import psutil
import pytest

PATIENCE_SECONDS = 120.0
_MARK = "STTS_TEST_STARTED"
_ROUNDS = 50


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **pipes: Any
) -> Iterator[subprocess.Popen[str]]:
    """Killed at the end with all that it started, also with what its parents left behind: all inherit a variable.

    `environment` is beside that of the tests; `pipes` are those of `Popen`.
    """
    mark = uuid4().hex
    surroundings = {**os.environ, **(environment or {}), _MARK: mark}
    with subprocess.Popen(command, text=True, env=surroundings, **pipes) as process:
        try:
            yield process
        finally:
            _kill_all(mark)


def line_with(pattern: str, stream: IO[str] | None, seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
    """Of the next line of a pipe in which it is found. Fails with what was read where none comes."""
    assert stream is not None
    read, deadline = [""], time.monotonic() + seconds
    # Byte by byte and past its buffer, so that whoever reads on misses nothing.
    while (left := deadline - time.monotonic()) > 0 and select.select([stream], [], [], left)[0]:
        byte = os.read(stream.fileno(), 1)
        if byte in (b"\n", b""):
            if found := re.search(pattern, read[-1]):
                return found
            read.append("")
        else:
            read[-1] += byte.decode("latin-1")
        if not byte:
            pytest.fail(f"it ended and never said {pattern!r}; it said\n" + "\n".join(read))
    pytest.fail(f"it did not say {pattern!r} in {seconds:g} s; it said\n" + "\n".join(read))


def _kill_all(mark: str) -> None:
    """More than once, as what was not there yet may have been started meanwhile."""
    for _ in range(_ROUNDS):
        found = list(_marked(mark))
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if not found:
            return
        time.sleep(0.05)
    pytest.fail(f"cannot be killed: {found}")


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        # Of the others there is nothing to read: they have ended, or are somebody else's.
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark:
                yield process
