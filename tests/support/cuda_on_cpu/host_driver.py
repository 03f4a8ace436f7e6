"""What the driver of CUDA does for a decode step, on the CPU: in place of `cuda.bindings.driver`.

PTX is taken by its fingerprint alone, and the kernels of the host's compiler run instead. A device's memory is the
host's, so that what is read beside an array faults as on a device: an unreadable page lies behind each.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from stts_runtime.cuda_decode.variants import Module, fingerprint
from tests.support.cuda_on_cpu.host_library import host_library

_OK, _INVALID_VALUE, _NOT_FOUND, _NO_BINARY = 0, 1, 500, 209
_PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_MOST_SHARED_BYTES = 48 * 1024


@dataclass
class _Function:
    library: ctypes.CDLL
    name: str
    shared_bytes: int = _MOST_SHARED_BYTES


@dataclass
class HostDriver:
    """`modules`: what may be loaded. The calls have the names and the results of cuda-bindings."""

    modules: list[Module]
    capability: int = 90
    version: int = 13000
    shared_bytes: int = 232_448
    """Of a block, as an H200 has them."""
    do: Callable[[Callable[[], None]], None] = lambda work: work()
    """Runs work now, or where work is being captured, whenever the graph is launched."""
    launches: list[tuple[str, bool]] = field(default_factory=list)
    """Names of kernels, and whether each might start before its turn."""
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict)

    CUlaunchConfig = SimpleNamespace
    CUlaunchAttributeID = SimpleNamespace(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION=6)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT="count",
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN="shared",
        CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE="l2",
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE="clock",
    )

    @staticmethod
    def CUlaunchAttribute() -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(value=SimpleNamespace())

    @staticmethod
    def CUstreamCaptureMode(mode: int) -> int:  # noqa: N802
        return mode

    def cuModuleLoadData(self, image: bytes) -> tuple[int, Any]:  # noqa: N802
        first = image.decode().partition("\n")[0]
        found = [module for module in self.modules if first == f"// {fingerprint(module)}"]
        return (_OK, host_library(found[0])) if found else (_NO_BINARY, None)

    def cuModuleUnload(self, module: object) -> tuple[int]:  # noqa: N802
        return (_OK,)

    def cuModuleGetFunction(self, library: ctypes.CDLL, name: bytes) -> tuple[int, Any]:  # noqa: N802
        known = hasattr(library, f"launch_{name.decode()}")
        return (_OK, _Function(library, name.decode())) if known else (_NOT_FOUND, None)

    def cuFuncSetAttribute(self, function: _Function, attribute: int, value: int) -> tuple[int]:  # noqa: N802
        assert attribute == self.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        function.shared_bytes = value
        return (_OK,)

    def cuLaunchKernelEx(  # noqa: N802
        self, config: SimpleNamespace, function: _Function, parameters: int, extra: int
    ) -> tuple[int]:
        if config.sharedMemBytes > function.shared_bytes:
            return (_INVALID_VALUE,)
        attributes = getattr(config, "attrs", [])
        self.launches.append(
            (function.name, any(one.value.programmaticStreamSerializationAllowed for one in attributes))
        )
        shape = (ctypes.c_int * 4)(config.gridDimX, config.gridDimY, config.gridDimZ, config.blockDimX)
        launch = getattr(function.library, f"launch_{function.name}")
        launch.argtypes, launch.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p), None
        # The driver copies the arguments within the call; here a thunk does, once it is known what they are.
        copied = function.library[f"copied_{function.name}"]
        copied.argtypes, copied.restype = (ctypes.c_void_p,), ctypes.c_void_p
        arguments = copied(parameters)
        self.do(lambda: launch(shape, config.sharedMemBytes, arguments))
        return (_OK,)

    def cuMemAlloc(self, size: int) -> tuple[int, int]:  # noqa: N802
        whole = -(-size // _PAGE) * _PAGE
        private_and_anonymous = 0x22
        start = _LIBC.mmap(None, whole + _PAGE, mmap.PROT_READ | mmap.PROT_WRITE, private_and_anonymous, -1, 0)
        assert _LIBC.mprotect(start + whole, _PAGE, 0) == 0
        address = start + whole - -(-size // 16) * 16
        self._sizes[address] = start, whole + _PAGE
        return _OK, address

    def cuMemFree(self, address: int) -> tuple[int]:  # noqa: N802
        _LIBC.munmap(*self._sizes.pop(address))
        return (_OK,)

    def cuMemsetD8(self, address: int, value: int, size: int) -> tuple[int]:  # noqa: N802
        ctypes.memset(address, value, size)
        return (_OK,)

    def cuMemcpyHtoD(self, target: int, source: int, size: int) -> tuple[int]:  # noqa: N802
        ctypes.memmove(target, source, size)
        return (_OK,)

    cuMemcpyDtoH = cuMemcpyHtoD

    def cuMemGetInfo(self) -> tuple[int, int, int]:  # noqa: N802
        used, whole = sum(size for _, size in self._sizes.values()), 1 << 36
        return _OK, whole - used, whole

    def cuMemcpyDtoDAsync(self, target: int, source: int, size: int, stream: object) -> tuple[int]:  # noqa: N802
        return self.cuMemcpyHtoD(target, source, size)

    def cuDriverGetVersion(self) -> tuple[int, int]:  # noqa: N802
        return _OK, self.version

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[int, int]:  # noqa: N802
        known = {"major": self.capability // 10, "minor": self.capability % 10, "shared": self.shared_bytes}
        return _OK, known.get(attribute, 1)

    def cuEventElapsedTime(self, begin: float, end: float) -> tuple[int, float]:  # noqa: N802
        return _OK, (time.monotonic() - begin) * 1000

    def cuEventCreate(self, flags: int) -> tuple[int, float]:  # noqa: N802
        return _OK, time.monotonic()

    def cuDeviceGetName(self, length: int, device: int) -> tuple[int, bytes]:  # noqa: N802
        return _OK, b"the host\0"

    def cuGraphInstantiate(self, graph: object, flags: int) -> tuple[int, object]:  # noqa: N802
        return _OK, graph

    def __getattr__(self, name: str) -> Callable[..., tuple[int, ...]]:
        """Of calls that have nothing to do here: with a result of zero where cuda-bindings gives one."""
        with_result = {
            "cuDeviceGet",
            "cuDevicePrimaryCtxRetain",
            "cuStreamCreate",
            "cuStreamEndCapture",
        }
        without = {
            *("cuInit", "cuCtxSetCurrent", "cuStreamBeginCapture", "cuGraphDestroy", "cuGraphLaunch"),
            *("cuGraphExecDestroy", "cuStreamSynchronize", "cuEventRecord", "cuEventSynchronize", "cuEventDestroy"),
        }
        if name in with_result:
            return lambda *_: (_OK, 0)
        if name in without:
            return lambda *_: (_OK,)
        raise AttributeError(name)
