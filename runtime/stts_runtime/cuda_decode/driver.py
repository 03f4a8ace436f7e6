"""Modules of PTX and launches of their kernels, through the driver that cuda-bindings binds.

The context is the device's primary one, which the runtime's `cudaSetDevice` made current.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from stts_runtime.cuda_decode.variants import ARCHITECTURES, Module, read_ptx
from stts_runtime.errors import EngineError

_STATIC_SHARED_BYTES = 48 * 1024
"""More of a block's shared memory has to be asked for."""


class UnfitDeviceError(EngineError):
    """The device does not run the kernels, and nothing is wrong with it."""


Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_uint | ctypes.c_long | ctypes.c_float | ctypes.Structure


class Driver:
    """The calls of cuda-python's `driver` that the step makes, with errors raised."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def call(self, name: str, *arguments: Any) -> Any:
        """Raises `EngineError` with the driver's own word for what failed."""
        error, *results = getattr(self.api, name)(*arguments)
        if int(error):
            raise EngineError(f"CUDA: {name} failed with {getattr(error, 'name', error)}")
        return results[0] if len(results) == 1 else tuple(results)

    def architecture(self, device: int) -> int:
        """The device's compute capability, as 87 for 8.7."""
        return 10 * self._attribute("COMPUTE_CAPABILITY_MAJOR", device) + self._attribute(
            "COMPUTE_CAPABILITY_MINOR", device
        )

    def multiprocessors(self, device: int) -> int:
        return self._attribute("MULTIPROCESSOR_COUNT", device)

    def shared_bytes(self, device: int) -> int:
        """Largest shared memory of a block, in bytes."""
        return self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", device)

    def version(self) -> int:
        """CUDA version that the driver supports: 12030 means 12.3."""
        return int(self.call("cuDriverGetVersion"))

    def _attribute(self, name: str, device: int) -> int:
        attribute = getattr(self.api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", attribute, self.call("cuDeviceGet", device)))


def load_driver() -> Driver:
    """Raises `EngineError` where there is none, or no binding for it."""
    try:
        from cuda.bindings import driver  # noqa: PLC0415  # optional

        loaded = Driver(driver)
        loaded.call("cuInit", 0)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"CUDA's driver cannot be called ({error})") from None
    return loaded


def best_architecture(capability: int) -> int | None:
    """The newest of ours that the device runs; None if it is too old."""
    return max((one for one in ARCHITECTURES if one <= capability), default=None)


class LoadedModule:
    """Kernels by name, compiled for the device by its driver, which keeps the result for the next time."""

    def __init__(self, driver: Driver, ptx: str) -> None:
        self._driver = driver
        self._module: Any = driver.call("cuModuleLoadData", ptx.encode() + b"\0")

    @classmethod
    def packaged(cls, driver: Driver, module: Module, architecture: int) -> LoadedModule:
        path = module.path(architecture)
        if not path.is_file():
            raise EngineError(f"{path} is missing: the installation is not whole")
        return cls(driver, read_ptx(path))

    def kernel(self, name: str) -> Kernel:
        return Kernel(self._driver, self, self._driver.call("cuModuleGetFunction", self._module, name.encode()))

    def __del__(self) -> None:
        if hasattr(self, "_module"):
            self._driver.api.cuModuleUnload(self._module)


class Kernel:
    """A function on the device."""

    def __init__(self, driver: Driver, module: LoadedModule, function: Any) -> None:
        self._driver, self._module, self._function = driver, module, function
        self._shared_bytes = _STATIC_SHARED_BYTES

    def launch(
        self,
        stream: int,
        grid: tuple[int, int, int],
        threads: int,
        shared_bytes: int,
        arguments: Sequence[Argument],
        dependent: bool,
    ) -> None:
        """Enqueues it. `dependent`: its blocks may start while the kernel before still runs."""
        self._allow(shared_bytes)
        api = self._driver.api
        config = api.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = grid
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes, config.hStream = shared_bytes, stream
        if dependent:
            attribute = api.CUlaunchAttribute()
            attribute.id = api.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            attribute.value.programmaticStreamSerializationAllowed = 1
            config.attrs, config.numAttrs = [attribute], 1
        # The driver reads the arguments within the call.
        addresses = np.array([ctypes.addressof(argument) for argument in arguments], dtype=np.uint64)
        self._driver.call("cuLaunchKernelEx", config, self._function, addresses.ctypes.data, 0)

    def _allow(self, shared_bytes: int) -> None:
        if shared_bytes > self._shared_bytes:
            attribute = self._driver.api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._driver.call("cuFuncSetAttribute", self._function, attribute, shared_bytes)
            self._shared_bytes = shared_bytes
