"""`stts-runtime serve` as a program on loopback, for tests: with real engines, and streams that play a clip."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "serve"]


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
    """Stopped at the end, unless the test has done it."""
    command: Sequence[str] = [*PROGRAM, *map(str, arguments), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as process:
        try:
            yield Served(_announced(process), process)
        finally:
            if process.poll() is None:
                process.kill()


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"page: (\S+)/ ", line):
            return found[1]
    raise AssertionError("".join(said))


def announced_in(log: Path, process: subprocess.Popen[str]) -> str:
    """The address, of a program whose stderr goes to a file."""
    while process.poll() is None:
        if found := re.search(r"page: (\S+)/ ", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
