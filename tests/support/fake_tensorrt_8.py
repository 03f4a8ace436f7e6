"""The same as `fake_tensorrt` for TensorRT 8.6, with a builder: what that version has, and nothing that it lacks.

`test_tensorrt_api.py` holds every name and signature in here to those of the real 8.6.0, which are kept in
`data/tensorrt-8.6.0.json`, since no CPython newer than 3.10 imports it.
"""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from tests.support import fake_tensorrt
from tests.support.fake_tensorrt import SCRATCH_BYTES, ILogger, TensorIOMode, plan_of
from tests.support.small_graphs import FLOAT, HALF, INT32, INT64, UINT8, open_graph

__all__ = ["ILogger", "TensorIOMode"]

__version__ = "8.6.0"


class DataType(Enum):
    FLOAT = np.float32
    HALF = np.float16
    INT32 = np.int32
    UINT8 = np.uint8

    @property
    def itemsize(self) -> int:
        return int(np.dtype(self.value).itemsize)


def nptype(trt_type: DataType) -> Any:
    return trt_type.value


class BuilderFlag(IntEnum):
    FP16 = 0
    TF32 = 7


class TacticSource(IntEnum):
    CUBLAS = 0
    CUBLAS_LT = 1
    CUDNN = 2
    EDGE_MASK_CONVOLUTIONS = 3


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0


class ProfilingVerbosity(Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class LayerInformationFormat(Enum):
    JSON = 1


class INetworkDefinition:
    graph: Path

    def __init__(self, flags: int) -> None:
        self.flags = flags

    @property
    def num_inputs(self) -> int:
        return len(open_graph(self.graph).inputs)

    def get_input(self, index: int) -> Any:
        name, value = list(open_graph(self.graph).inputs.items())[index]
        return SimpleNamespace(name=name, shape=value.shape)


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the library's own names
        self.shapes[input] = min, opt, max


class ITimingCache:
    """What was learned, as words."""

    def __init__(self, content: bytes) -> None:
        self.words = set(content.split())

    def serialize(self) -> bytes:
        return b" ".join(sorted(self.words))

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.words |= input_cache.words
        return True


class IBuilderConfig:
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def __init__(self) -> None:
        self.enabled = {BuilderFlag.TF32}
        self.sources = 0b1111
        self.profiles: list[IOptimizationProfile] = []

    def set_flag(self, flag: BuilderFlag) -> None:
        self.enabled.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.enabled.discard(flag)

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self.sources = tactic_sources
        return True

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True


class OnnxParser:
    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network = network

    def parse_from_file(self, model: str) -> bool:
        assert self.network.flags == 1 << NetworkDefinitionCreationFlag.EXPLICIT_BATCH
        self.network.graph = Path(model)
        return True


class Builder:
    built: ClassVar[list[IBuilderConfig]] = []
    """Configurations of everything that was built."""

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes:
        self.built.append(config)
        # As 8.6 says it, at the level of errors, of builds that succeed.
        self._logger.log(ILogger.Severity.ERROR, "Myelin error from unknown graph; The timing cache will not be used!")
        config.cache.words.add(network.graph.stem.encode())
        return plan_of(network.graph)


class EngineInspector:
    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002 - the library's own name
        assert format is LayerInformationFormat.JSON
        outputs = [{"Format/Datatype": kind} for kind in ("Row major linear FP16 format", "Row major linear FP32")]
        layers = [{"Name": "a", "Outputs": outputs[:1]}, {"Name": "b", "Outputs": outputs}]
        return json.dumps({"Layers": layers, "Bindings": ["frames"]})


class ICudaEngine(fake_tensorrt.EngineOfAnyVersion):
    types: ClassVar[dict[int, Any]] = {
        FLOAT: DataType.FLOAT,
        HALF: DataType.HALF,
        INT64: DataType.INT32,
        INT32: DataType.INT32,
        UINT8: DataType.UINT8,
    }

    @property
    def device_memory_size(self) -> int:
        return SCRATCH_BYTES

    @property
    def num_layers(self) -> int:
        return 2

    def create_execution_context_without_device_memory(self) -> IExecutionContext:
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()


class IExecutionContext(fake_tensorrt.ContextOfAnyVersion):
    @property
    def device_memory(self) -> int:
        return self.scratch

    @device_memory.setter
    def device_memory(self, memory: int) -> None:
        self.scratch = memory


class Runtime(fake_tensorrt.Runtime):
    def _engine(self, graph: Path) -> ICudaEngine:
        return ICudaEngine(graph, self)
