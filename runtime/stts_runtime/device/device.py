"""A machine as compiled engines see it: platform, GPU, driver, and on a Jetson the release of its Linux."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stts_runtime.device.gpu import Gpu, ask_driver
from stts_runtime.device.system import debian_version, text_of

ROOT = Path("/")

# As in "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build".
_DRIVER = re.compile(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)*)\s", re.MULTILINE)
# As in "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64".
_L4T = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Device:
    """What a machine is."""

    platform: str
    """System and processor, as in linux-x86_64."""
    gpu: Gpu | None
    """The one that this process computes on."""
    driver: str | None
    """Version of NVIDIA's kernel module, as in 580.65.06."""
    l4t: str | None
    """Release of Jetson Linux, as in 36.4.7; None on anything but a Jetson."""
    no_gpu_because: str | None
    """One clause, where there is no GPU."""
    cuda: str | None = None
    """The newest CUDA that the driver can run, as in 12.6."""


def read_device(root: Path = ROOT, load: Callable[[str], Any] = ctypes.CDLL, gpu: int = 0) -> Device:
    """Reads /etc and /proc under `root`, and asks the driver's library, which `load` opens, about a GPU."""
    answer = ask_driver(load, gpu)
    return Device(
        platform=f"{platform.system().lower()}-{platform.machine().lower()}",
        gpu=answer.gpu,
        driver=_found(_DRIVER, root / "proc/driver/nvidia/version"),
        l4t=_l4t(root),
        no_gpu_because=answer.no_gpu_because,
        cuda=answer.cuda,
    )


def _l4t(root: Path) -> str | None:
    """From the release file, or where an image lacks it, from the package, whose version is as in 39.2.0-2026..."""
    release = _found(_L4T, root / "etc/nv_tegra_release")
    package = None if release else debian_version("nvidia-l4t-core")
    return package.partition("-")[0] if package else release


def _found(pattern: re.Pattern[str], path: Path) -> str | None:
    """The pattern's groups in the file, joined by dots."""
    match = pattern.search(text_of(path) or "")
    return ".".join(match.groups()) if match else None
