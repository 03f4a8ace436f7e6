"""Questions to the system whose answer may be absent: files and commands. It knows nothing about either."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

_PATIENCE_SECONDS = 30
_X86_FLAGS = re.compile(r"^flags\s*:\s*(.+)$", re.MULTILINE)
_PROCESSOR = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


def text_of(path: Path) -> str | None:
    """The file's text without the NULs that device trees end in; None if there is no such file to read."""
    try:
        return path.read_text(errors="replace").replace("\0", "")
    except OSError:
        return None


def output_of(*command: str) -> str | None:
    """What the command prints, stripped; None if it is not installed, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def debian_version(package: str) -> str | None:
    """Version of an installed Debian package; None where it, or dpkg, is absent."""
    return output_of("dpkg-query", "--showformat=${Version}", "--show", package) or None


def processor(root: Path = Path("/")) -> str:
    """What the CPU is called; on Arm, /proc/cpuinfo has no model name."""
    model = _PROCESSOR.search(text_of(root / "proc/cpuinfo") or "")
    return model[1].strip() if model else platform.processor() or platform.machine()


def x86_flags(root: Path = Path("/")) -> frozenset[str]:
    """Features of an x86 CPU as Linux names them, such as avx2; empty on other CPUs and other systems."""
    flags = _X86_FLAGS.search(text_of(root / "proc/cpuinfo") or "")
    return frozenset(flags[1].split()) if flags else frozenset()
