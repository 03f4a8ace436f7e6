"""A small TensorRT and a small CUDA that compute: an engine is a graph, device memory is memory.

They have only what the engine classes call; `test_tensorrt_api.py` holds every name and signature in here to the real
classes. What they are strict about: unbound tensors, shapes that were not set, caches of `TensorScatter` that are not
one buffer, work during a capture, memory that was freed.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.support.small_graphs import FLOAT, HALF, INT64, NUMPY, UINT8, open_graph

__version__ = "11.4.0.106"
SCRATCH_BYTES = 1024


class DataType(Enum):
    FLOAT = np.float32
    HALF = np.float16
    INT64 = np.int64
    UINT8 = np.uint8
    BF16 = None

    @property
    def itemsize(self) -> int:
        return 2 if self is DataType.BF16 else int(np.dtype(self.value).itemsize)


def nptype(trt_type: DataType) -> Any:
    return trt_type.value


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(Enum):
    USER_MANAGED = 2


class CudaGraphStrategy(Enum):
    WHOLE_GRAPH_CAPTURE = 1


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self) -> None:
        self.called = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


def plan_of(graph: Path) -> bytes:
    """What the fake takes for a serialized engine of `graph`."""
    return json.dumps({"graph": str(graph)}).encode()


class Runtime:
    cuda: FakeCuda
    """The device of this process; a test sets it."""

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> EngineOfAnyVersion | None:
        content = bytes(serialized_engine)
        if not content.startswith(b"{"):
            self.logger.log(ILogger.Severity.ERROR, "the header does not match")
            return None
        return self._engine(Path(json.loads(content)["graph"]))

    def _engine(self, graph: Path) -> EngineOfAnyVersion:
        return ICudaEngine(graph, self)


class EngineOfAnyVersion:
    types: ClassVar[dict[int, Any]] = {
        FLOAT: DataType.FLOAT,
        HALF: DataType.HALF,
        INT64: DataType.INT64,
        UINT8: DataType.UINT8,
    }

    def __init__(self, graph: Path, runtime: Runtime) -> None:
        self.runtime = runtime
        self.graph = open_graph(graph)
        self.values = {**self.graph.inputs, **self.graph.outputs}
        self.inputs, self.outputs = list(self.graph.inputs), list(self.graph.outputs)

    @property
    def num_io_tensors(self) -> int:
        return len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def graph_type(self, name: str) -> Any:
        return NUMPY[self.values[name].kind]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def get_tensor_dtype(self, name: str) -> Any:
        return self.types[self.values[name].kind]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT


class ICudaEngine(EngineOfAnyVersion):
    @property
    def device_memory_size_v2(self) -> int:
        return SCRATCH_BYTES

    def create_execution_context(self, strategy: Any) -> IExecutionContext:
        return IExecutionContext(self)

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self)


class IRuntimeCache:
    """Grows by a word for every time that it is written down: the first input of the engine that it belongs to."""

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine, self.content = engine, b""

    def deserialize(self, blob: bytes) -> bool:
        if blob == b"refused":
            return False
        self.content = blob
        return True

    def serialize(self) -> bytes:
        self.content += self.engine.inputs[0].encode() + b" "
        return self.content


class IRuntimeConfig:
    cuda_graph_strategy: CudaGraphStrategy

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self.engine)

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self.cache = cache
        return True


class ContextOfAnyVersion:
    def __init__(self, engine: EngineOfAnyVersion) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch = 0

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.values

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return name in self.engine.inputs

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda, engine = self.engine.runtime.cuda, self.engine
        unset = [name for name in engine.inputs if -1 in engine.get_tensor_shape(name) and name not in self.shapes]
        if unset or engine.values.keys() - self.addresses.keys():
            engine.runtime.logger.log(ILogger.Severity.ERROR, "not everything is bound and has a shape")
            return False
        for output, cache in engine.graph.one_buffer.items():
            assert self.addresses[output] == self.addresses[cache], "TensorScatter writes in place"
        assert self.scratch in cuda.memory
        cuda.do(self._run)
        return True

    def _run(self) -> None:
        cuda, engine = self.engine.runtime.cuda, self.engine
        feeds = {name: cuda.array(self.addresses[name], self._shape(name), self._type(name)) for name in engine.inputs}
        # TensorRT 8.6 takes 32 bits where the graph has 64; a copy in any case.
        feeds = {name: feed.astype(engine.graph_type(name)) for name, feed in feeds.items()}
        outputs = engine.graph.run(feeds)
        for name, value in zip(engine.outputs, outputs, strict=True):
            cuda.array(self.addresses[name], value.shape, self._type(name))[...] = value

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.shapes.get(name, self.engine.get_tensor_shape(name))

    def _type(self, name: str) -> Any:
        return self.engine.get_tensor_dtype(name).value


class IExecutionContext(ContextOfAnyVersion):
    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= SCRATCH_BYTES
        self.scratch = memory


class cudaError_t(IntEnum):  # noqa: N801
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2


class cudaMemcpyKind(IntEnum):  # noqa: N801
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(IntEnum):  # noqa: N801
    cudaStreamCaptureModeRelaxed = 2


class cudaGraphNodeType(IntEnum):  # noqa: N801
    cudaGraphNodeTypeKernel = 0
    cudaGraphNodeTypeHost = 3


OK = cudaError_t.cudaSuccess
# Types for annotations: within the class the names above are attributes.
Error = cudaError_t
CopyKind = cudaMemcpyKind
CaptureMode = cudaStreamCaptureMode
NodeType = cudaGraphNodeType


class FakeCuda:
    """`cuda.bindings.runtime`, over host memory."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaGraphNodeType = cudaGraphNodeType
    cudaStreamNonBlocking = 1

    def __init__(self, memory_bytes: int = 1 << 30, captures: bool = True) -> None:
        self.memory: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.free_bytes, self.total_bytes, self.captures = memory_bytes, memory_bytes, captures
        self.current = 0
        self.capturing: list[Callable[[], None]] | None = None
        self.launched = 0

    def array(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The array at an address, which must lie in an allocation."""
        count = int(np.prod(shape))
        (start,) = (it for it, held in self.memory.items() if it <= address < it + ctypes.sizeof(held))
        return np.frombuffer(self.memory[start], dtype, count, address - start).reshape(shape)

    def holds(self, address: int, count: int) -> bool:
        """Whether so many bytes from an address on lie in one allocation."""
        return any(
            start <= address and address + count <= start + ctypes.sizeof(it) for start, it in self.memory.items()
        )

    def cudaSetDevice(self, device: int) -> tuple[Error]:  # noqa: N802
        self.current = device
        return (OK,)

    def cudaMemGetInfo(self) -> tuple[Error, int, int]:  # noqa: N802
        return OK, self.free_bytes, self.total_bytes

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Error, int]:  # noqa: N802
        buffer = ctypes.create_string_buffer(size)
        self.pinned[ctypes.addressof(buffer)] = buffer
        return OK, ctypes.addressof(buffer)

    def cudaFreeHost(self, ptr: int) -> tuple[Error]:  # noqa: N802
        del self.pinned[ptr]
        return (OK,)

    def do(self, work: Callable[[], None]) -> None:
        if self.capturing is None:
            work()
        else:
            self.capturing.append(work)

    def cudaMalloc(self, size: int) -> tuple[Error, int]:  # noqa: N802
        if size > self.free_bytes:
            return cudaError_t.cudaErrorMemoryAllocation, 0
        self.free_bytes -= size
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return OK, ctypes.addressof(buffer)

    def cudaFree(self, devPtr: int) -> tuple[Error]:  # noqa: N802
        self.free_bytes += ctypes.sizeof(self.memory.pop(devPtr))
        return (OK,)

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: int) -> tuple[Error]:  # noqa: N802
        ctypes.memset(devPtr, value, count)
        return (OK,)

    def cudaMemcpyAsync(  # noqa: N802
        self, dst: int, src: int, count: int, kind: CopyKind, stream: int
    ) -> tuple[Error]:
        assert self.capturing is None, "a copy of host memory in a capture would be repeated with old contents"
        device = {
            cudaMemcpyKind.cudaMemcpyHostToDevice: [dst],
            cudaMemcpyKind.cudaMemcpyDeviceToHost: [src],
            cudaMemcpyKind.cudaMemcpyDeviceToDevice: [dst, src],
        }[kind]
        if not all(self.holds(address, count) for address in device):
            return (cudaError_t.cudaErrorInvalidValue,)
        ctypes.memmove(dst, src, count)
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Error, int]:  # noqa: N802
        return OK, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[Error]:  # noqa: N802
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Error]:  # noqa: N802
        assert self.capturing is None
        return (OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> tuple[Error]:  # noqa: N802
        if not self.captures:
            return (cudaError_t.cudaErrorInvalidValue,)
        self.capturing = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Error, Any]:  # noqa: N802
        captured, self.capturing = self.capturing, None
        return OK, captured

    def cudaGraphGetNodes(self, graph: Any, numNodes: int = 0) -> tuple[Error, Any, int]:  # noqa: N802
        return OK, graph[:numNodes], len(graph)

    def cudaGraphNodeGetType(self, node: Any) -> tuple[Error, NodeType]:  # noqa: N802
        is_host = getattr(node, "calls_the_host", False)
        return OK, cudaGraphNodeType.cudaGraphNodeTypeHost if is_host else cudaGraphNodeType.cudaGraphNodeTypeKernel

    def cudaGetLastError(self) -> tuple[Error]:  # noqa: N802
        return (OK,)

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Error, Any]:  # noqa: N802
        return OK, graph

    def cudaGraphDestroy(self, graph: Any) -> tuple[Error]:  # noqa: N802
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec: Any) -> tuple[Error]:  # noqa: N802
        return (OK,)

    def cudaGraphLaunch(self, graphExec: Any, stream: int) -> tuple[Error]:  # noqa: N802
        self.launched += 1
        for work in graphExec:
            work()
        return (OK,)
