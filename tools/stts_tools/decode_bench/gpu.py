"""The GPU through the driver alone: memory, streams, graphs and the clock. Needs numpy and cuda-bindings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.cuda_decode.driver import Driver, load_driver

_NON_BLOCKING = 1
_CAPTURE_RELAXED = 2


class Gpu:
    """One device and one stream. What is allocated stays until the process ends, but for `free`."""

    def __init__(self, number: int = 0) -> None:
        self.driver: Driver = load_driver()
        call = self.driver.call
        call("cuInit", 0)
        self.device = call("cuDeviceGet", number)
        call("cuCtxSetCurrent", call("cuDevicePrimaryCtxRetain", self.device))
        self.stream = call("cuStreamCreate", _NON_BLOCKING)
        self.architecture = self.driver.architecture(number)

    def described(self) -> dict[str, Any]:
        attribute = self.driver.api.CUdevice_attribute
        names = {"multiprocessors": "MULTIPROCESSOR_COUNT", "l2_bytes": "L2_CACHE_SIZE", "clock_khz": "CLOCK_RATE"}
        facts: dict[str, Any] = {
            name: int(
                self.driver.call("cuDeviceGetAttribute", getattr(attribute, f"CU_DEVICE_ATTRIBUTE_{word}"), self.device)
            )
            for name, word in names.items()
        }
        name = self.driver.call("cuDeviceGetName", 100, self.device).split(b"\0")[0].decode()
        driver = int(self.driver.call("cuDriverGetVersion"))
        return {"name": name, "driver": driver, "compute_capability": self.architecture, **facts}

    def allocate(self, size: int) -> int:
        return int(self.driver.call("cuMemAlloc", max(size, 256)))

    def free(self, address: int) -> None:
        self.driver.call("cuMemFree", address)

    def zeros(self, size: int) -> int:
        address = self.allocate(size)
        self.driver.call("cuMemsetD8", address, 0, size)
        return address

    def upload(self, values: NDArray[Any], address: int | None = None) -> int:
        values = np.ascontiguousarray(values)
        address = self.allocate(values.nbytes) if address is None else address
        if values.nbytes:
            self.driver.call("cuMemcpyHtoD", address, values.ctypes.data, values.nbytes)
        return address

    def download(self, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        values = np.empty(shape, dtype)
        self.synchronize()
        self.driver.call("cuMemcpyDtoH", values.ctypes.data, address, values.nbytes)
        return values

    def fill(self, address: int, size: int, template: int, template_size: int) -> None:
        """Repeats what is at `template`."""
        for offset in range(0, size, template_size):
            self.copy(address + offset, template, min(template_size, size - offset))
        self.synchronize()

    def copy(self, target: int, source: int, size: int) -> None:
        self.driver.call("cuMemcpyDtoDAsync", target, source, size, self.stream)

    def synchronize(self) -> None:
        self.driver.call("cuStreamSynchronize", self.stream)

    def graph(self, work: Callable[[], None]) -> Graph:
        return Graph(self, work)

    def milliseconds(self, work: Callable[[], None], rounds: int, times: int) -> list[float]:
        """Time of one run in each of `rounds`, each of `times` consecutive runs."""
        call = self.driver.call
        begin, end = call("cuEventCreate", 0), call("cuEventCreate", 0)
        taken = []
        for _ in range(rounds):
            call("cuEventRecord", begin, self.stream)
            for _ in range(times):
                work()
            call("cuEventRecord", end, self.stream)
            call("cuEventSynchronize", end)
            taken.append(float(call("cuEventElapsedTime", begin, end)) / times)
        call("cuEventDestroy", begin)
        call("cuEventDestroy", end)
        return taken


class Graph:
    """Captured work."""

    def __init__(self, gpu: Gpu, work: Callable[[], None]) -> None:
        self._gpu = gpu
        call = gpu.driver.call
        mode = gpu.driver.api.CUstreamCaptureMode(_CAPTURE_RELAXED)
        call("cuStreamBeginCapture", gpu.stream, mode)
        try:
            work()
        except BaseException:
            gpu.driver.api.cuStreamEndCapture(gpu.stream)
            raise
        graph = call("cuStreamEndCapture", gpu.stream)
        self._executable = call("cuGraphInstantiate", graph, 0)
        call("cuGraphDestroy", graph)

    def launch(self) -> None:
        self._gpu.driver.call("cuGraphLaunch", self._executable, self._gpu.stream)

    def close(self) -> None:
        self._gpu.driver.call("cuGraphExecDestroy", self._executable)
