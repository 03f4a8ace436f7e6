"""TensorRT in its two flavours, and the targets that are for them.

TensorRT builds an engine on the GPU that runs it. TensorRT-RTX compiles anywhere, for a handful of architectures.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stts_runtime.device import Device
from stts_runtime.doctor.modules import Module, bindings_obstacle, numbers
from stts_runtime.doctor.report import Fact, Target

# What the oldest lowering for it needs (stts_export/lowering/tensorrt_8.py).
_MINIMUM = (8, 6)
# The first that our graphs were compiled with.
_RTX_MINIMUM = (1, 7)
# What TensorRT-RTX 1.7 compiles our graphs for: neither Jetson nor data centre GPUs after the A100, and not Turing
# (stts_runtime/compile/choose.py).
RTX_ARCHITECTURES = ("sm80", "sm86", "sm89", "sm120", "sm121")

_EXTRA = "pip install 'stts-export[tensorrt]'"
_RTX_EXTRA = "pip install 'stts-export[tensorrt-rtx]'"
_JETPACK = "sudo apt install nvidia-jetpack"
_VENV = "/usr/bin/python3 -m venv --system-site-packages VENV && VENV/bin/pip install stts-export"
# TensorRT for JetPack 6 is linked to it, and containers get it from the host. JetPack 7.2 (L4T 39) has none.
_DLA_COMPILER = "libnvdla_compiler.so"
_FIRST_WITHOUT_DLA_COMPILER = (39, 0)
_APT_MODULES = "usr/lib/python3*/dist-packages/tensorrt"


def tensorrt_facts(tensorrt: Module, rtx: Module, lean: Module) -> list[Fact]:
    return [module.fact() for module in (tensorrt, rtx, lean)]


def has_apt_module(root: Path) -> bool:
    """Whether JetPack's module is on disk: it is for the system's Python, which a plain virtual environment is not."""
    return any(root.glob(_APT_MODULES))


def tensorrt_target(device: Device, tensorrt: Module, bindings: Module, apt_module: bool) -> Target:
    """`apt_module` says whether `has_apt_module`."""
    obstacle = _tensorrt_obstacle(device, tensorrt, apt_module) or bindings_obstacle(device, tensorrt, bindings, _EXTRA)
    because, command = obstacle or (f"TensorRT {tensorrt.version} builds and runs engines on {_this(device)}", None)
    return Target(name="tensorrt", ready=not obstacle, can_compile=not obstacle, because=f"{because}.", command=command)


def _tensorrt_obstacle(device: Device, tensorrt: Module, apt_module: bool) -> tuple[str, str | None] | None:
    """What is in the way, and the command against it."""
    if device.gpu is None:
        return f"TensorRT builds an engine on the GPU that runs it, and {device.no_gpu_because}", None
    if tensorrt.is_missing:
        return _tensorrt_missing(device, apt_module)
    if tensorrt.version is None:
        return _tensorrt_broken(device, tensorrt), None
    if numbers(tensorrt.version) < _MINIMUM:
        minimum = ".".join(map(str, _MINIMUM))
        because = f"TensorRT {tensorrt.version} is installed, and the graphs need {minimum} or newer"
        # A Jetson's comes with its system.
        return because, None if device.l4t else _EXTRA
    return None


def _tensorrt_broken(device: Device, tensorrt: Module) -> str:
    """Why it does not load, and where the reason is known, what to do about it."""
    because = str(tensorrt.because)
    if _DLA_COMPILER not in because:
        return because
    if device.l4t and numbers(device.l4t) >= _FIRST_WITHOUT_DLA_COMPILER:
        return (
            f"{because}: hosts with JetPack 7.2 have no such library, so use a container made for JetPack 7.2, "
            "or no container"
        )
    return (
        f"{because}: start the container with --runtime nvidia, which takes it from the host; a host with JetPack 6 "
        "that lacks it has it in the package nvidia-l4t-dla-compiler, one with JetPack 7.2 has none: use a container "
        "made for JetPack 7.2, or no container"
    )


def _tensorrt_missing(device: Device, apt_module: bool) -> tuple[str, str | None]:
    if device.l4t is None:
        return "TensorRT is not installed", _EXTRA
    if apt_module:
        return f"JetPack's TensorRT is for the system's Python, and {sys.executable} does not see it", _VENV
    return "TensorRT is not installed; on a Jetson it comes with JetPack", _JETPACK


def rtx_target(device: Device, rtx: Module, bindings: Module) -> Target:
    never = _why_never(device)
    obstacle = _rtx_obstacle(rtx) if never is None else _only_compiles(device, rtx, never)
    obstacle = obstacle or bindings_obstacle(device, rtx, bindings, _RTX_EXTRA)
    because, command = obstacle or (f"TensorRT-RTX {rtx.version} compiles and runs engines on {_this(device)}", None)
    return Target(
        name="tensorrt-rtx",
        ready=not obstacle,
        can_compile=rtx.version is not None,
        because=f"{because}.",
        command=command,
    )


def _rtx_obstacle(rtx: Module) -> tuple[str, str | None] | None:
    if rtx.because:
        return rtx.because, _RTX_EXTRA if rtx.is_missing else None
    if rtx.version and numbers(rtx.version) < _RTX_MINIMUM:
        minimum = ".".join(map(str, _RTX_MINIMUM))
        return f"TensorRT-RTX {rtx.version} is installed, and the graphs need {minimum} or newer", _RTX_EXTRA
    return None


def _why_never(device: Device) -> str | None:
    """Why no command makes this machine run its engines, as a clause."""
    if device.gpu is None:
        return str(device.no_gpu_because)
    if device.gpu.architecture not in RTX_ARCHITECTURES:
        return f"it runs on {', '.join(RTX_ARCHITECTURES)}, and {_this(device)} is none of them"
    return None


def _only_compiles(device: Device, rtx: Module, never: str) -> tuple[str, str | None]:
    if rtx.version is not None:
        return f"TensorRT-RTX {rtx.version} compiles here for other machines, but cannot run: {never}", None
    # Nobody compiles on a Jetson for a workstation, and the wheels for Arm are not made for it.
    if device.l4t is not None or not rtx.is_missing:
        return f"{rtx.because}, and it could not run: {never}", None
    return f"{rtx.because}; with it, this machine could compile for others, but not run: {never}", _RTX_EXTRA


def _this(device: Device) -> str:
    return f"this {device.gpu.name} ({device.gpu.architecture})" if device.gpu else "this machine"
