"""Energy and throttling of one NVIDIA GPU, through its management library (NVML).

It measures the whole GPU and nothing else: not the CPU next to it, and whatever other processes do on that GPU too. The
package nvidia-ml-py is optional, and so is every call: drivers answer "not supported", on a Jetson to most of them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from stts_runtime.device import this_device
from stts_runtime.power.joules import Counted, Integrated, NoSourceError
from stts_runtime.power.meter import LONGEST_GAP_SECONDS, Joules

_MODULE = "pynvml"

_ENERGY, _POWER = "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"
# One call under its name and its older one, which is all that older drivers have.
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")

# Bits of nvmlClocksEventReasons in nvml.h. Left out are those that hold nothing back against its will: an idle GPU
# (0x1), and clocks set by an administrator (applications 0x2, display 0x100).
_WORDS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal",
    0x40: "thermal, by hardware",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability limit",
}


class NvmlSource:
    """One GPU. Holds NVML open until it is closed."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        """Raises `NoSourceError` if the GPU tells neither energy nor power."""
        self._nvml, self._handle = nvml, handle
        self._counts = self._ask(_ENERGY) is not None
        if not self._counts and self._ask(_POWER) is None:
            raise NoSourceError(f"NVML tells neither energy nor power of {self._gpu()}")
        how = "energy counter" if self._counts else "power, sampled"
        blind = "" if self._reasons() is not None else ", throttling not told"
        self.name = f"NVML of {self._gpu()} ({how}; the GPU only{blind})"

    def begin(self) -> Joules:
        return Counted(self._joules) if self._counts else Integrated(self._watts, LONGEST_GAP_SECONDS)

    def throttling(self) -> set[str]:
        reasons = self._reasons() or 0
        return {word for bit, word in _WORDS.items() if reasons & bit}

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _joules(self) -> float | None:
        """Since the driver was loaded; NVML counts millijoules."""
        return _thousandth(self._ask(_ENERGY))

    def _watts(self) -> float | None:
        return _thousandth(self._ask(_POWER))

    def _reasons(self) -> int | None:
        return next((found for name in _REASONS if (found := self._ask(name)) is not None), None)

    def _ask(self, name: str) -> int | None:
        """None if package or driver do not have the call, or if it fails."""
        call = getattr(self._nvml, name, None)
        if call is None:
            return None
        try:
            return int(call(self._handle))
        except self._nvml.NVMLError:
            return None

    def _gpu(self) -> str:
        try:
            name = self._nvml.nvmlDeviceGetName(self._handle)
        except self._nvml.NVMLError:
            return "a GPU without a name"
        # Older versions of the package give bytes.
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def open_nvml() -> NvmlSource:
    """The GPU that this process computes on. Raises `NoSourceError`."""
    nvml, handle = nvml_of_this_gpu()
    try:
        return NvmlSource(nvml, handle)
    except NoSourceError:
        nvml.nvmlShutdown()
        raise


def nvml_of_this_gpu() -> tuple[Any, Any]:
    """The module, started, and its handle of the GPU that this process computes on. Raises `NoSourceError`."""
    try:
        nvml: Any = import_module(_MODULE)
    except ImportError:
        raise NoSourceError("nvidia-ml-py is not installed: pip install nvidia-ml-py") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoSourceError(f"NVML does not start ({error})") from None
    gpu = this_device().gpu
    try:
        return nvml, _seen_by_cuda(nvml, gpu.number if gpu else 0)
    except (nvml.NVMLError, NoSourceError) as error:
        nvml.nvmlShutdown()
        raise NoSourceError(str(error)) from None


def _seen_by_cuda(nvml: Any, number: int) -> Any:
    """NVML numbers GPUs by their place on the bus and sees all of them; CUDA does either only if it is told to."""
    if nvml.nvmlDeviceGetCount() == 1:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = listed[number].strip() if number < len(listed) else ""
    if visible.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByUUID(visible)
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" and (visible or "0").isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(visible or number))
    raise NoSourceError(
        "of several GPUs it is not known which one CUDA takes: set CUDA_VISIBLE_DEVICES to a line of `nvidia-smi -L`, "
        "as in GPU-..."
    )


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
