"""Disks that fill up: a small tmpfs in a mount namespace of its own, where this machine allows that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.programs import BIN

_SCRIPT = """
mount -t tmpfs -o "size=$2k" none "$1" || exit 99
cd "$1" && shift 2
head -c "$1" /dev/zero > filler; shift
"$@"; code=$?
rm filler; find . -type f -printf '%P\\n' | sort > "$LEFT"; exit $code
"""


@dataclass(frozen=True)
class OnFullDisk:
    code: int
    out: str
    err: str
    left: list[str]
    """Files on the disk, but for what filled it."""


@cache
def can_mount() -> bool:
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


def run_on_small_disk(folder: Path, *words: object, size_kb: int = 4096, free_kb: int = 10) -> OnFullDisk:
    """Runs a program in a folder that is a disk of its own, all of it taken but for `free_kb`."""
    if shutil.which("unshare") is None or not can_mount():
        pytest.skip("mounts a small disk, which is not allowed here")
    program, *arguments = map(str, words)
    disk, left = folder / "disk", folder / "left"
    disk.mkdir()
    filler = (size_kb - free_kb) * 1024
    command = ["unshare", "-m", "sh", "-c", _SCRIPT, "sh", str(disk), str(size_kb), str(filler)]
    python_path = os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)
    done = subprocess.run(
        [*command, str(BIN / program) if "/" not in program else program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LEFT": str(left), "PYTHONPATH": python_path},
    )
    return OnFullDisk(done.returncode, done.stdout, done.stderr, left.read_text().split())
