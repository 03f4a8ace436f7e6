"""`stts-runtime serve` as a program on loopback, for tests: with real engines, and streams that play a clip."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.started import PATIENCE_SECONDS, line_with, started

PROGRAM = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "serve"]
_ANNOUNCED = r"page: (\S+)/ "


@dataclass
class Served:
    address: str
    process: subprocess.Popen[str]

    def stop(self, seconds: float = 15) -> str:
        """What it said on stderr since it announced itself; it has to end well."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, said
        return said


@contextmanager
def served(*arguments: object, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Killed at the end, unless the test has stopped it."""
    command: Sequence[str] = [*PROGRAM, *map(str, arguments), "--listen", "127.0.0.1:0"]
    with started(command, environment, stderr=subprocess.PIPE) as process:
        yield Served(line_with(_ANNOUNCED, process.stderr)[1], process)


def announced_in(log: Path, process: subprocess.Popen[str], seconds: float = PATIENCE_SECONDS) -> str:
    """The address, of a program whose stderr goes to a file."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(_ANNOUNCED, log.read_text()):
            return found[1]
        time.sleep(0.05)
    ended = "it goes on" if process.returncode is None else f"it ended with code {process.returncode}"
    pytest.fail(f"no address was said in {seconds:g} s, {ended}; it said\n{log.read_text()}")
