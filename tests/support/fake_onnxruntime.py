"""onnxruntime with a CUDA provider, for machines without a GPU: graphs run on the CPU, on the memory of `FakeCuda`.

It shows that the engine binds, orders and repeats its work as it should, not that CUDA kernels are right. Every input
and output must be bound, by an address of the fake's memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from stts_export.graphs.on_cpu import make_runnable_on_cpu
from stts_runtime.device import Device
from stts_runtime.device.gpu import Gpu
from stts_runtime.engines import cuda_session
from stts_runtime.engines.cuda_memory import Cuda
from tests.support.fake_tensorrt import FakeCuda

__version__ = onnxruntime.__version__
_TYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    6: np.int32,
    7: np.int64,
    10: np.float16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
}

HOPPER = Device("linux-x86_64", Gpu("NVIDIA H100", "sm90", 85 * 10**9), "580.65.06", None, None, "13.0")


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOnnxRuntime]:
    """The cuda engine finds a GPU and this module."""
    cuda = FakeCuda()
    module = FakeOnnxRuntime(cuda)
    cuda_session.stream_on.cache_clear()
    monkeypatch.setattr(cuda_session, "this_device", lambda: HOPPER)
    monkeypatch.setattr(cuda_session, "load_cuda", lambda: Cuda(cuda))
    for place in ("cuda_session", "cuda"):
        monkeypatch.setattr(f"stts_runtime.engines.{place}.cuda_runtime", lambda: module)
    yield module
    cuda_session.stream_on.cache_clear()


def ort_value(values: np.ndarray) -> Any:
    """For a session's input; ONNX Runtime does not know FP8 as numpy's type."""
    if values.dtype == ml_dtypes.float8_e4m3fn:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(values.view(np.uint8), TensorProto.FLOAT8E4M3FN)
    return onnxruntime.OrtValue.ortvalue_from_numpy(values)


class _SessionOptions:
    log_severity_level = 2

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


class _RunOptions:
    def add_run_config_entry(self, name: str, value: str) -> None:
        assert (name, value) == ("disable_synchronize_execution_providers", "1")


class Binding:
    def __init__(self) -> None:
        self.bound: dict[str, tuple[int, list[int], int]] = {}

    def bind_input(self, name: str, device: str, number: int, kind: int, shape: list[int], address: int) -> None:
        assert (device, number) == ("cuda", 0)
        self.bound[name] = (kind, shape, address)

    bind_output = bind_input


class FakeOnnxRuntime:
    """The module."""

    __version__ = __version__
    SessionOptions = _SessionOptions
    RunOptions = _RunOptions

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.runs: list[tuple[str, int]] = []
        """Name of the graph and number of tokens, or 0, of every run outside of a captured graph."""

    def InferenceSession(self, path: str, options: _SessionOptions, providers: list[Any]) -> FakeSession:  # noqa: N802
        ((name, how),) = providers
        assert name == "CUDAExecutionProvider"
        assert how["user_compute_stream"] == "7"
        assert options.entries == {"session.disable_cpu_ep_fallback": "1"}
        return FakeSession(self, Path(path))


class FakeSession:
    def __init__(self, module: FakeOnnxRuntime, path: Path) -> None:
        self._module, self._name = module, path.name
        model = onnx.load(path, load_external_data=False)
        make_runnable_on_cpu(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._real = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def get_inputs(self) -> list[Any]:
        return list(self._real.get_inputs())

    def get_outputs(self) -> list[Any]:
        return list(self._real.get_outputs())

    def disable_fallback(self) -> None:
        pass

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: _RunOptions) -> None:
        bound = dict(binding.bound)
        self._module.runs.append((self._name, bound["token_ids"][1][0] if "token_ids" in bound else 0))
        self._module.cuda.do(lambda: self._compute(bound))

    def _compute(self, bound: dict[str, tuple[int, list[int], int]]) -> None:
        names = [value.name for value in self.get_outputs()]
        inputs = {value.name: ort_value(self._array(*bound[value.name]).copy()) for value in self.get_inputs()}
        for name, value in zip(names, self._real.run_with_ort_values(names, inputs), strict=True):
            self._array(*bound[name])[...] = value.numpy()

    def _array(self, kind: int, shape: list[int], address: int) -> np.ndarray:
        dtype = np.dtype(_TYPES[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        assert self._module.cuda.holds(address, size)
        memory = (ctypes.c_ubyte * size).from_address(address)
        values: np.ndarray = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        return values
