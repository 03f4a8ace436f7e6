"""A GPU that CUDA shows, asked of the driver's own library.

libcuda.so.1 is there wherever CUDA is, on a Jetson too, and needs no package; NVML leaves most fields empty there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIBRARY = "libcuda.so.1"

# Of CUdevice_attribute in cuda.h.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256

# Of CUresult in cuda.h.
_STUB, _NO_DEVICE, _MISMATCH = 34, 100, 803
_REASONS = {
    _STUB: f"{LIBRARY} is the toolkit's stub and no driver",
    _NO_DEVICE: "the driver finds no GPU",
    _MISMATCH: "the driver's library and its kernel module are of different versions",
}


@dataclass(frozen=True)
class Gpu:
    """A GPU, as far as compiled engines depend on it."""

    name: str
    architecture: str
    """Compute capability, as in sm86."""
    memory_bytes: int
    """All of its memory; on a Jetson, which shares it with the CPU, all of the machine's."""
    number: int = 0
    """Its place among those that CUDA shows."""
    count: int = 1
    """How many CUDA shows."""


@dataclass(frozen=True)
class Answer:
    """What the driver said."""

    gpu: Gpu | None
    no_gpu_because: str | None
    """One clause, where there is no GPU."""
    cuda: str | None
    """The newest CUDA that the driver can run, as in 12.6."""


class _CudaError(Exception):
    def __init__(self, code: int) -> None:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") if code == _NO_DEVICE else None
        note = "" if hidden is None else f", and CUDA_VISIBLE_DEVICES is {hidden!r}"
        super().__init__(f"{_REASONS.get(code, 'the driver does not start')} (CUDA error {code}{note})")


def ask_driver(load: Callable[[str], Any] = ctypes.CDLL, number: int = 0) -> Answer:
    """Asks for a GPU by its number; loads the driver's library with `load`. A machine without one is an answer too."""
    try:
        library = load(LIBRARY)
    except OSError as error:
        return Answer(None, _not_loaded(str(error)), None)
    cuda = _cuda_version(library)
    try:
        return Answer(_gpu(library, number), None, cuda)
    except _CudaError as error:
        return Answer(None, str(error), cuda)


def _not_loaded(message: str) -> str:
    # The loader's words for a file that is not there, against those for one that does not load.
    if message.startswith(f"{LIBRARY}: cannot open shared object file"):
        return f"the NVIDIA driver's library {LIBRARY} is not installed"
    return f"the NVIDIA driver's library {LIBRARY} does not load ({message})"


def _gpu(library: Any, number: int) -> Gpu:
    count, device = ctypes.c_int(), ctypes.c_int()
    _check(library.cuInit(0))
    _check(library.cuDeviceGetCount(ctypes.byref(count)))
    _check(0 if count.value else _NO_DEVICE)
    _check(library.cuDeviceGet(ctypes.byref(device), number))
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    _check(library.cuDeviceGetName(name, _NAME_BYTES, device))
    _check(library.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    major, minor = _attribute(library, _MAJOR, device), _attribute(library, _MINOR, device)
    return Gpu(name.value.decode(errors="replace"), f"sm{major}{minor}", memory.value, number, count.value)


def _attribute(library: Any, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
    return value.value


def _cuda_version(library: Any) -> str | None:
    """Known without a GPU: 1000 times the major version and 10 times the minor."""
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _check(code: int) -> None:
    if code != 0:
        raise _CudaError(code)
