"""One graph on ONNX Runtime's CUDA provider: tensors on the device, bound by address, on a stream of ours.

It knows nothing of frames, tokens or bundles. Nothing here waits for the device.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.device import this_device
from stts_runtime.engines.cuda_memory import DeviceArray, RepeatedWork, Stream, load_cuda
from stts_runtime.engines.onnxruntime_session import SILENT, foreign_errors_as, onnxruntime_for
from stts_runtime.errors import BundleError, EngineError, MissingExtraError, SttsError, UserError

_PROVIDER = "CUDAExecutionProvider"
_INSTALL = "pip uninstall onnxruntime; pip install 'stts-export[cuda]'"

# ONNX Runtime allocates in its first runs, and may do so once more, which a capture forbids.
_RUNS_BEFORE_CAPTURE, _ATTEMPTS = 2, 3

# Bytes of an item and its type, with the number that onnx.proto has for it (TensorProto.DataType); numpy has neither
# bfloat16 nor FP8.
_ELEMENT_TYPES: dict[tuple[int, np.dtype[Any] | None], int] = {
    (4, np.dtype(np.float32)): 1,
    (1, np.dtype(np.uint8)): 2,
    (4, np.dtype(np.int32)): 6,
    (8, np.dtype(np.int64)): 7,
    (2, np.dtype(np.float16)): 10,
    (2, None): 16,
    (1, None): 17,
}
_NUMPY_TYPES: dict[str, tuple[int, np.dtype[Any] | None]] = {
    "tensor(float)": (4, np.dtype(np.float32)),
    "tensor(uint8)": (1, np.dtype(np.uint8)),
    "tensor(int32)": (4, np.dtype(np.int32)),
    "tensor(int64)": (8, np.dtype(np.int64)),
    "tensor(float16)": (2, np.dtype(np.float16)),
    "tensor(bfloat16)": (2, None),
    "tensor(float8e4m3fn)": (1, None),
}


def _spelled(item_bytes: int, dtype: np.dtype[Any] | None) -> str:
    return ("fp8" if item_bytes == 1 else "bfloat16") if dtype is None else str(dtype)


def cuda_runtime() -> Any:
    """ONNX Runtime with its CUDA provider. Raises `MissingExtraError` if it has none."""
    onnxruntime = onnxruntime_for("cuda", "cuda")
    if _PROVIDER not in onnxruntime.get_available_providers():
        raise MissingExtraError(
            "the onnxruntime that is installed has no CUDA provider, and the bundle's cuda engines run on it: "
            f"{_INSTALL}"
        )
    _load_cuda_libraries()
    return onnxruntime


@functools.cache
def _load_cuda_libraries() -> None:
    """From NVIDIA's pip packages, where they are; the system's otherwise."""
    onnxruntime_for("cuda", "cuda").preload_dlls(directory="")


def shared_stream() -> Stream:
    """The stream that all sessions on the selected GPU take turns on. Raises `UserError` without a GPU."""
    device = this_device()
    if device.gpu is None:
        raise UserError(
            f"the cuda engine needs an NVIDIA GPU, and there is none here ({device.no_gpu_because}); `--engine cpu` "
            "runs without one where the bundle has graphs for it"
        )
    return stream_on(device.gpu.number)


@functools.cache
def stream_on(gpu: int) -> Stream:  # noqa: ARG001 - it is what `load_cuda` takes
    """ONNX Runtime uses it until the last of its sessions is gone, so it stays."""
    return Stream(load_cuda())


class CudaSession:
    """A loaded graph; the `calls` made of it share its scratch memory, since they take turns."""

    def __init__(self, graph: Path, weights: Mapping[str, DeviceArray], stream: Stream) -> None:
        """Inputs that have the name of a weight are bound to it. Raises `BundleError` if the graph does not load."""
        onnxruntime = cuda_runtime()
        self.graph, self.stream, self.weights = graph, stream, weights
        options = onnxruntime.SessionOptions()
        options.log_severity_level = SILENT
        # With a pattern it allocates all of a run once more, in one piece, and keeps what the first run took.
        options.enable_mem_pattern = False
        # A node that the CPU would have to run is a mistake in the graph, and slow.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        provider = {
            "device_id": str(stream.cuda.gpu),
            "user_compute_stream": str(int(stream.handle)),
            "arena_extend_strategy": "kSameAsRequested",
        }
        with foreign_errors_as(BundleError, f"{graph} cannot be loaded", stream.cuda.full_memory):
            self.session = onnxruntime.InferenceSession(str(graph), options, providers=[(_PROVIDER, provider)])
        self.session.disable_fallback()
        self.run_options = onnxruntime.RunOptions()
        self.run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.outputs = [value.name for value in outputs]
        self.inputs = [value.name for value in inputs if value.name not in weights]
        self.signature = {value.name: (tuple(value.shape), _NUMPY_TYPES[value.type]) for value in (*inputs, *outputs)}

    def __del__(self) -> None:
        # ONNX Runtime gives memory back when the device reaches the end of a run, and must still be there then.
        with suppress(SttsError):
            self.stream.synchronize()

    def array(self, name: str, longest: int = 1) -> DeviceArray:
        """A zeroed array for a tensor; `longest` is the size of its symbolic length."""
        shape, (item_bytes, dtype) = self.signature[name]
        return self.stream.zeros(tuple(size if isinstance(size, int) else longest for size in shape), item_bytes, dtype)

    def call(self) -> CudaCall:
        """A way to run the graph, with its weights bound."""
        call = CudaCall(self)
        call.bind({name: self.weights[name] for name in self.signature if name in self.weights})
        return call


class CudaCall:
    """One way to run a session. Shapes and addresses stay as they are bound."""

    def __init__(self, session: CudaSession) -> None:
        self._session, self._binding = session, session.session.io_binding()
        # ONNX Runtime knows addresses only: what lies there lives as long as this call.
        self._bound: dict[str, DeviceArray] = {}

    def bind(self, arrays: Mapping[str, DeviceArray]) -> None:
        """Binds by name; raises `BundleError` if one has another type or shape than the graph."""
        self._bound.update(arrays)
        for name, array in arrays.items():
            shape, kind = self._session.signature[name]
            sizes = zip(array.shape, shape, strict=False)
            fits = all(size == wanted or not isinstance(wanted, int) for size, wanted in sizes)
            if kind != (array.item_bytes, array.dtype) or len(shape) != len(array.shape) or not fits:
                raise BundleError(
                    f"{name} is {array.shape} {_spelled(array.item_bytes, array.dtype)}, and the graph takes {shape} "
                    f"{_spelled(*kind)}"
                )
            is_output = name in self._session.outputs
            bind = self._binding.bind_output if is_output else self._binding.bind_input
            bind(
                name,
                "cuda",
                self._session.stream.cuda.gpu,
                _ELEMENT_TYPES[kind],
                list(array.shape),
                array.address,
            )

    def repeated(self) -> RepeatedWork:
        """For a call whose shapes never change."""
        return RepeatedWork(self._session.stream, self.enqueue, _RUNS_BEFORE_CAPTURE, _ATTEMPTS)

    def enqueue(self) -> None:
        """Runs on the stream; returns before the device is done."""
        with foreign_errors_as(EngineError, "CUDA provider", self._session.stream.cuda.full_memory):
            self._session.session.run_with_iobinding(self._binding, self._session.run_options)
