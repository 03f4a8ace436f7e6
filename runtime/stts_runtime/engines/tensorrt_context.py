"""A deserialized TensorRT engine and its execution contexts: tensors bound by name, errors with TensorRT's own text.

Both flavours come through here. It knows nothing of frames, tokens or bundles.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from stts_runtime.engines.cuda_memory import DeviceArray, RepeatedWork, Stream
from stts_runtime.errors import EngineError, UserError
from stts_runtime.outputs import written_whole
from stts_runtime.places import unwritable
from stts_runtime.tensorrt import Flavour, Log, made
from stts_runtime.tensorrt.files import load_plan

_LOG = logging.getLogger(__name__)

# In what TensorRT says of an allocation that failed.
_MEMORY_IS_FULL = re.compile("out ?of ?memory", re.IGNORECASE)


class LoadedEngine:
    """An engine in device memory; `contexts` made of it share its weights and, since they take turns, its scratch."""

    def __init__(self, flavour: Flavour, plan: Path, stream: Stream, kernels: Path | None = None) -> None:
        """`kernels` is where TensorRT-RTX keeps what it compiled for this device.

        Raises `EngineError` if TensorRT refuses the engine.
        """
        self.flavour, self.stream, self.log = flavour, stream, Log()
        self.what = f"{flavour.name} engine {plan.name}"
        """For errors."""
        stream.cuda.make_current()
        with _full_memory_told(stream):
            self._runtime, self.engine = load_plan(flavour, plan, self.log, f"{flavour.name} cannot load {plan}")
        self.names = [self.engine.get_tensor_name(number) for number in range(self.engine.num_io_tensors)]
        self._kernels = KernelCache(flavour, self.engine, kernels) if flavour.name == "tensorrt-rtx" else None
        self._kinds_kept: set[str] = set()
        self._scratch = stream.zeros((_scratch_bytes(self.engine),), 1, np.dtype(np.uint8))

    def shape(self, name: str) -> tuple[int, ...]:
        """-1 stands for the symbolic length."""
        return tuple(self.engine.get_tensor_shape(name))

    def array(self, name: str, longest: int = 1) -> DeviceArray:
        """A zeroed array for a tensor; `longest` is the size of its symbolic length."""
        kind = self.engine.get_tensor_dtype(name)
        shape = tuple(longest if size == -1 else size for size in self.shape(name))
        return self.stream.zeros(shape, kind.itemsize, _numpy_type(self.flavour.api, kind))

    def context(self) -> Context:
        self.stream.cuda.make_current()
        with _full_memory_told(self.stream):
            context = made(f"{self.what} made no execution context", self.log, self._create_context)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._scratch.address, self._scratch.size_bytes)
        else:
            context.device_memory = self._scratch.address
        return Context(self, context)

    def _create_context(self) -> Any:
        """Without memory of its own."""
        if not self.flavour.takes_strategies:
            return self.engine.create_execution_context_without_device_memory()
        strategy = self.flavour.api.ExecutionContextAllocationStrategy.USER_MANAGED
        return self.engine.create_execution_context(strategy if self._kernels is None else self._kernels.configuration)

    def keep_kernels(self, kind: str = "run") -> None:
        """Writes down what TensorRT-RTX compiled for the first run of a kind, so that the next start is quick."""
        if self._kernels is not None and kind not in self._kinds_kept:
            self._kinds_kept.add(kind)
            self._kernels.save()


class Context:
    """One way to run an engine. Shapes and addresses stay as they are set."""

    def __init__(self, loaded: LoadedEngine, context: Any) -> None:
        self._loaded, self._context = loaded, context
        # TensorRT knows addresses only: what lies there lives as long as this context.
        self._bound: dict[str, DeviceArray] = {}

    def bind(self, arrays: Mapping[str, DeviceArray]) -> None:
        self._bound.update(arrays)
        for name, array in arrays.items():
            if not self._context.set_tensor_address(name, array.address):
                raise self._refused(f"no address for {name}")

    def set_length(self, length: int) -> None:
        """Sets the symbolic length of every input that has one."""
        engine = self._loaded.engine
        inputs = self._loaded.flavour.api.TensorIOMode.INPUT
        for name in self._loaded.names:
            shape = self._loaded.shape(name)
            if engine.get_tensor_mode(name) == inputs and -1 in shape:
                wanted = tuple(length if size == -1 else size for size in shape)
                if not self._context.set_input_shape(name, wanted):
                    raise self._refused(f"{name} cannot be {wanted}")

    def enqueue(self) -> None:
        """Runs on the stream; returns before the device is done."""
        # An old message explains no later failure.
        self._loaded.log.errors.clear()
        self._loaded.stream.cuda.make_current()
        if not self._context.execute_async_v3(int(self._loaded.stream.handle)):
            raise self._refused("the engine did not run")

    def repeated(self) -> RepeatedWork:
        """For a context whose shapes never change; TensorRT-RTX captures by itself (`KernelCache`)."""
        may_capture = self._loaded.flavour.name == "tensorrt"
        return RepeatedWork(self._loaded.stream, self.enqueue, attempts=int(may_capture))

    def _refused(self, otherwise: str) -> EngineError:
        return EngineError(f"{self._loaded.what}: {self._loaded.log.explain(otherwise)}")


class KernelCache:
    """TensorRT-RTX compiles its kernels on the device when they are first needed; this keeps them between runs."""

    def __init__(self, flavour: Flavour, engine: Any, path: Path | None) -> None:
        self._path = path
        self.configuration = engine.create_runtime_config()
        """For all contexts of the engine."""
        strategy = flavour.api.ExecutionContextAllocationStrategy.USER_MANAGED
        self.configuration.set_execution_context_allocation_strategy(strategy)
        self.configuration.cuda_graph_strategy = flavour.api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = self.configuration.create_runtime_cache()
        # A cache of another driver is refused, and then made anew, like one that cannot be read.
        with suppress(OSError):
            if path is not None:
                self._cache.deserialize(path.read_bytes())
        self.configuration.set_runtime_cache(self._cache)

    def save(self) -> None:
        if self._path is None:
            return
        # A full disk or a read-only home must not stop a stream; the next start compiles again.
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(self._path) as scratch:
                scratch.write_bytes(self._cache.serialize())
        except (OSError, UserError) as error:
            why = unwritable(self._path, error) if isinstance(error, OSError) else error
            _LOG.warning("note: the next start compiles the kernels again: %s", why)


@contextmanager
def _full_memory_told(stream: Stream) -> Iterator[None]:
    """A full memory of the device is the user's to mend."""
    try:
        yield
    except EngineError as error:
        if _MEMORY_IS_FULL.search(str(error)):
            raise UserError(f"{error}; {stream.cuda.full_memory()}") from None
        raise


def _scratch_bytes(engine: Any) -> int:
    """What a context of the engine needs besides its tensors."""
    newer = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if newer is None else newer)


def _numpy_type(api: Any, kind: Any) -> np.dtype[Any] | None:
    """None for bfloat16, which numpy does not have, nor TensorRT 8.6."""
    return None if kind == getattr(api.DataType, "BF16", None) else np.dtype(api.nptype(kind))
