"""Device memory, streams and CUDA graphs through cuda-python. It knows nothing of TensorRT."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.device import this_device
from stts_runtime.errors import EngineError, MissingExtraError, SttsError, UserError

_OUT_OF_MEMORY = 2


class Cuda:
    """The calls of cuda-python's `runtime` that engines make, on one GPU, with errors raised."""

    def __init__(self, api: Any, gpu: int = 0) -> None:
        self.api, self.gpu = api, gpu

    def call(self, name: str, *arguments: Any) -> Any:
        """Returns what the call gives besides its error code: nothing, one value or a tuple.

        Raises `UserError` when the device's memory is full, `EngineError` for every other error.
        """
        self.make_current()
        return self._call(name, *arguments)

    def make_current(self) -> None:
        """Every thread has a current GPU, the first at its beginning; what TensorRT does goes there too."""
        self._call("cudaSetDevice", self.gpu)

    def full_memory(self) -> UserError:
        """What to say where memory is wanted and there is none."""
        failed, free, total = self.api.cudaMemGetInfo()
        left = "" if int(failed) else f": {free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
        return UserError(
            f"the GPU's memory is full (cuda:{self.gpu}){left}; another process may hold it (nvidia-smi names it): "
            "stop that, choose another GPU with --device, or use fewer frames, a lower keep or a smaller --max-context"
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *results = getattr(self.api, name)(*arguments)
        if int(error) == _OUT_OF_MEMORY:
            raise self.full_memory()
        if int(error):
            raise EngineError(f"CUDA: {name} failed with {getattr(error, 'name', error)}")
        return results[0] if len(results) == 1 else tuple(results)


def load_cuda() -> Cuda:
    """For the selected GPU. Raises `MissingExtraError` if cuda-python is not installed or does not load."""
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError:
        raise MissingExtraError(
            "cuda-bindings (cuda-python) is not installed, and engines on the GPU keep their tensors with it: "
            "pip install 'cuda-bindings==13.*', or 12.* for CUDA 12"
        ) from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"cuda-bindings is installed but does not load ({error}); it has the major version of CUDA: "
            "pip install 'cuda-bindings==13.*', or 12.* for CUDA 12"
        ) from None
    gpu = this_device().gpu
    return Cuda(runtime, gpu.number if gpu else 0)


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """An array in device memory. `dtype` is None where numpy has no such type (bfloat16, FP8)."""

    address: int
    shape: tuple[int, ...]
    item_bytes: int
    dtype: np.dtype[Any] | None
    owner: DeviceArray | None = None
    """Whose memory this is a view of, and keeps alive; None where it is its own."""

    def view(self) -> DeviceArray:
        """The same memory as an object of its own."""
        return replace(self, owner=self.owner or self)

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.item_bytes


def _as_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bytes of the nearest values, ties to even, for finite ones."""
    whole = np.ascontiguousarray(values).view(np.uint32)
    rounded: NDArray[np.uint16] = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def _when_released(owner: object, free: Callable[..., object], what: object) -> None:
    """Calls `free(what)` once nobody holds `owner`; at the end of the process the system does it, in any order."""
    weakref.finalize(owner, free, what).atexit = False


class PinnedArray:
    """An array of the host that copies need not stage first. `values` is what lies in it."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = max(prod(shape) * dtype.itemsize, 1)
        self.address = int(cuda.call("cudaHostAlloc", size, 0))
        memory = (ctypes.c_ubyte * size).from_address(self.address)
        bytes_of_it: NDArray[np.uint8] = np.ctypeslib.as_array(memory)[: prod(shape) * dtype.itemsize]
        self.values: NDArray[Any] = bytes_of_it.view(dtype).reshape(shape)
        _when_released(self, cuda.api.cudaFreeHost, self.address)


class Stream:
    """A CUDA stream with the allocations and copies that belong to it; copies from and to the host wait for the end,
    unless the host's memory is pinned.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.handle = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        _when_released(self, cuda.api.cudaStreamDestroy, self.handle)

    def zeros(self, shape: tuple[int, ...], item_bytes: int, dtype: np.dtype[Any] | None) -> DeviceArray:
        """A new array, freed with the last reference to it."""
        size = max(prod(shape) * item_bytes, 1)
        array = DeviceArray(int(self.cuda.call("cudaMalloc", size)), shape, item_bytes, dtype)
        _when_released(array, self.cuda.api.cudaFree, array.address)
        self.cuda.call("cudaMemsetAsync", array.address, 0, size, self.handle)
        return array

    def upload(self, target: DeviceArray, source: NDArray[Any]) -> None:
        """Copies `source`, which must not be larger, to the beginning of `target`, in the target's type.

        For bfloat16, `source` is float32, or has its bytes already.
        """
        if target.dtype is None and source.dtype == np.float32:
            source = _as_bfloat16(source)
        source = np.ascontiguousarray(source, dtype=target.dtype)
        if source.nbytes > target.size_bytes:
            raise EngineError(f"{source.nbytes} bytes do not fit a tensor of {target.size_bytes}")
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.cuda.call("cudaMemcpyAsync", target.address, source.ctypes.data, source.nbytes, kind, self.handle)
        # Memory that is not pinned is staged, but only a synchronised stream promises that `source` was read.
        self.synchronize()

    def upload_pinned(self, target: DeviceArray, source: PinnedArray, begin: int = 0, end: int | None = None) -> None:
        """Copies rows `begin` to `end`, or what the target holds, in the order of the stream; `source` stays as it is
        until then.
        """
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        row = source.values.nbytes // len(source.values)
        size = min(source.values.nbytes if end is None else end * row, target.size_bytes) - begin * row
        addresses = target.address + begin * row, source.address + begin * row
        self.cuda.call("cudaMemcpyAsync", *addresses, size, kind, self.handle)

    def download_pinned(self, target: PinnedArray, source: DeviceArray) -> None:
        """Copies in the order of the stream; `target` holds it once the stream was synchronised."""
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.cuda.call("cudaMemcpyAsync", target.address, source.address, source.size_bytes, kind, self.handle)

    def download(self, source: DeviceArray) -> NDArray[Any]:
        """A copy on the host; bfloat16, which numpy has no type for, as float32."""
        target: NDArray[Any] = np.empty(source.shape, dtype=source.dtype or np.uint16)
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.cuda.call("cudaMemcpyAsync", target.ctypes.data, source.address, target.nbytes, kind, self.handle)
        self.synchronize()
        if source.dtype is None:
            return (target.astype(np.uint32) << 16).view(np.float32)
        return target

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Device to device, in the order of the stream."""
        if source.size_bytes > target.size_bytes:
            raise EngineError(f"{source.size_bytes} bytes do not fit a tensor of {target.size_bytes}")
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self.cuda.call("cudaMemcpyAsync", target.address, source.address, source.size_bytes, kind, self.handle)

    def put(self, target: DeviceArray, source: DeviceArray | NDArray[Any]) -> None:
        """`copy` or `upload`, by where the source lies."""
        if isinstance(source, DeviceArray):
            self.copy(target, source)
        else:
            self.upload(target, source)

    def synchronize(self) -> None:
        self.cuda.call("cudaStreamSynchronize", self.handle)


class CapturedWork:
    """Work on a stream that was captured once and is launched whole afterwards."""

    def __init__(self, stream: Stream, work: Callable[[], None]) -> None:
        """Captures `work()`, which must only enqueue; raises `SttsError` if it cannot be captured."""
        cuda, self._stream = stream.cuda, stream
        # Relaxed: a library may still allocate, which is no work on the stream.
        mode = cuda.api.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        cuda.call("cudaStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            cuda.api.cudaStreamEndCapture(stream.handle)
            # Who asks for the last error next would take what a capture forbids for a failure of its own.
            cuda.api.cudaGetLastError()
            raise
        graph = cuda.call("cudaStreamEndCapture", stream.handle)
        try:
            self._check_repeatable(cuda, graph)
            self._executable = cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            cuda.call("cudaGraphDestroy", graph)
        _when_released(self, cuda.api.cudaGraphExecDestroy, self._executable)

    @staticmethod
    def _check_repeatable(cuda: Cuda, graph: Any) -> None:
        """Raises `EngineError` for a call back into the host: a library frees memory in it, once."""
        _, count = cuda.call("cudaGraphGetNodes", graph, 0)
        nodes, _ = cuda.call("cudaGraphGetNodes", graph, count)
        if any(
            cuda.call("cudaGraphNodeGetType", node) == cuda.api.cudaGraphNodeType.cudaGraphNodeTypeHost
            for node in nodes
        ):
            raise EngineError("the work calls back into the host, which cannot be repeated")

    def launch(self) -> None:
        self._stream.cuda.call("cudaGraphLaunch", self._executable, self._stream.handle)


class RepeatedWork:
    """Work on a stream whose shapes and addresses never change: captured once it has settled, then launched whole."""

    def __init__(self, stream: Stream, work: Callable[[], None], runs_before: int = 1, attempts: int = 1) -> None:
        """`runs_before` runs settle what a library puts off until it knows shapes and addresses. A capture that fails,
        since the work waits or allocates inside, is tried `attempts` times; the work then runs as before.
        """
        self._stream, self._work = stream, work
        self._runs_before, self._attempts = runs_before, attempts
        self._captured: CapturedWork | None = None

    def __call__(self) -> None:
        if self._captured is None and not self._runs_before and self._attempts:
            self._capture()
        if self._captured is None:
            self._work()
            self._runs_before = max(self._runs_before - 1, 0)
        else:
            self._captured.launch()

    def _capture(self) -> None:
        self._attempts -= 1
        with suppress(SttsError):
            self._captured = CapturedWork(self._stream, self._work)
