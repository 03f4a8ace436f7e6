"""Facts about the machine around the GPU: software, processor, memory, disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path

import psutil

from stts_runtime.device import Device
from stts_runtime.device.system import debian_version, processor, text_of
from stts_runtime.doctor.modules import distribution_version
from stts_runtime.doctor.report import Fact

_PRETTY_NAME = re.compile(r'^PRETTY_NAME="?([^"\n]+)', re.MULTILINE)
# By the major version of Jetson Linux: minor ones come by apt between two releases of JetPack.
_JETPACK = {"36": "6", "38": "7", "39": "7"}


def host_facts(folder: Path, device: Device, root: Path) -> list[Fact]:
    """`folder` is where bundles are; /etc and /proc are read under `root`."""
    return [
        _own_version(),
        Fact.of("Python", f"{platform.python_version()}, {sys.executable}", None),
        Fact.of("operating system", f"{_system(root)}, {device.platform}", None),
        Fact.of("Jetson", _jetson(device, root), "there is no Jetson Linux here"),
        Fact.of("CPU", processor(root), None),
        Fact.of("cores", _cores(), None),
        Fact.of("memory", _memory(), None),
        Fact.of("swap", _swap(), "there is none"),
        _disk(folder),
    ]


def _own_version() -> Fact:
    return Fact.of("stts-export", distribution_version("stts-export"), "it runs from source, not installed")


def _system(root: Path) -> str:
    name = _PRETTY_NAME.search(text_of(root / "etc/os-release") or "")
    kernel = f"{platform.system()} {platform.release()}"
    return f"{name[1]}, {kernel}" if name else kernel


def _jetson(device: Device, root: Path) -> str | None:
    if device.l4t is None:
        return None
    model = text_of(root / "proc/device-tree/model")
    jetpack = debian_version("nvidia-jetpack") or _JETPACK.get(device.l4t.partition(".")[0])
    parts = [model, f"JetPack {jetpack}" if jetpack else None, f"L4T {device.l4t}"]
    return ", ".join(part.strip() for part in parts if part)


def _cores() -> str:
    total, usable = psutil.cpu_count() or 0, len(os.sched_getaffinity(0))
    return str(total) if usable == total else f"{usable} of {total}"


def _memory() -> str:
    memory = psutil.virtual_memory()
    return _free_of(memory.available, memory.total)


def _swap() -> str | None:
    swap = psutil.swap_memory()
    return _free_of(swap.free, swap.total) if swap.total else None


def _disk(folder: Path) -> Fact:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Fact.of("disk", None, f"{folder} cannot be read ({error.strerror})")
    return Fact.of("disk", f"{_free_of(usage.free, usage.total)} at {folder.absolute()}", None)


def _free_of(free: int, total: int) -> str:
    return f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
