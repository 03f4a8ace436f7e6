"""What the engine and compile classes call exists under that name, with those parameters, in the real TensorRT.

No machine of ours can execute an engine, so the fake in `fake_tensorrt.py` stands in; here it is held to the real
classes: TensorRT-RTX, TensorRT's lean runtime (the classes of the full one, without its builder), and cuda-python.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tensorrt_lean_bindings
import tensorrt_rtx
from cuda.bindings import runtime as cuda_runtime

from stts_runtime.engines.cuda_memory import Cuda, Stream
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.errors import EngineError
from stts_runtime.tensorrt import Flavour, Log, load_flavour, make_logger
from tests.support import fake_tensorrt, fake_tensorrt_8
from tests.support.places import DATA

MODULES = [tensorrt_rtx, tensorrt_lean_bindings]
RTX_ONLY = {"IRuntimeCache", "IRuntimeConfig"}
CLASSES = ["Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeCache", "IRuntimeConfig"]
OWN_TO_THE_FAKE = {"cuda", "types", "graph_type", "built", "enabled", "sources", "profiles", "graph"}


def members_of_the_fake() -> list[tuple[ModuleType, str, str]]:
    return [
        (module, name, member)
        for module in MODULES
        for name in CLASSES
        if module is tensorrt_rtx or name not in RTX_ONLY
        for member in members(getattr(fake_tensorrt, name))
    ]


def members(kind: type) -> list[str]:
    """What a class of a fake has in common with the real one."""
    return [name for name in dir(kind) if not name.startswith("_") and name not in OWN_TO_THE_FAKE]


def parameters(method: Any) -> list[list[str]]:
    """Names of the parameters of every overload, from pybind11's docstring."""
    text = inspect.getdoc(method) or ""
    return [
        [part.split(":")[0].strip() for part in re.split(r",\s*(?=\w+:)", found)][1:]
        for found in re.findall(rf"{method.__name__}\((self:.*?)\) ->", text)
    ]


@pytest.mark.parametrize(("module", "kind", "member"), members_of_the_fake())
def test_what_the_fake_has_the_real_classes_have(module: ModuleType, kind: str, member: str) -> None:
    real = getattr(getattr(module, kind), member)
    fake = inspect.getattr_static(getattr(fake_tensorrt, kind), member)
    assert callable(fake) == callable(real), "a property is not a method"
    if callable(fake) and parameters(real):
        wanted = list(inspect.signature(fake).parameters)[1:]
        assert any(wanted == overload[: len(wanted)] for overload in parameters(real)), parameters(real)


REAL_8_6 = json.loads((DATA / "tensorrt-8.6.0.json").read_text())
"""Members of the real 8.6.0 by class: for methods the parameters of every overload, else null."""
ENUMS_8_6 = ["BuilderFlag", "DataType", "NetworkDefinitionCreationFlag", "ProfilingVerbosity", "TacticSource"]
CLASSES_8_6 = ["Builder", "EngineInspector", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "Runtime"]
CLASSES_8_6 += ["INetworkDefinition", "IOptimizationProfile", "ITimingCache", "OnnxParser"]


@pytest.mark.parametrize(
    ("kind", "member"),
    [(kind, member) for kind in CLASSES_8_6 for member in members(getattr(fake_tensorrt_8, kind))],
)
def test_what_the_fake_of_8_6_has_the_real_one_has(kind: str, member: str) -> None:
    fake, real = inspect.getattr_static(getattr(fake_tensorrt_8, kind), member), REAL_8_6["classes"][kind][member]
    assert callable(fake) == (real is not None), "a property is not a method"
    if real is not None:
        wanted = list(inspect.signature(fake).parameters)[1:]
        assert any(wanted == overload[: len(wanted)] for overload in real), real


@pytest.mark.parametrize("kind", ENUMS_8_6)
def test_what_the_fake_of_8_6_lists_the_real_one_lists(kind: str) -> None:
    assert {one.name for one in getattr(fake_tensorrt_8, kind)} <= REAL_8_6["classes"][kind].keys()


def test_the_fake_of_8_6_lacks_what_the_real_one_lacks() -> None:
    flavour = Flavour("tensorrt", fake_tensorrt_8)
    assert not [name for name in REAL_8_6["missing"] if hasattr(fake_tensorrt_8, name)]
    for kind, member in (("ICudaEngine", "device_memory_size_v2"), ("IExecutionContext", "set_device_memory")):
        assert member not in REAL_8_6["classes"][kind]
        assert not hasattr(getattr(fake_tensorrt_8, kind), member)
    assert (flavour.is_weakly_typed, flavour.tells_progress, flavour.takes_strategies) == (True, False, False)
    assert (flavour.has_bf16, flavour.writes_to_files) == (False, False)


def test_signatures_are_found_at_all() -> None:
    found = parameters(tensorrt_rtx.IExecutionContext.set_device_memory)
    assert found == [["memory", "size"]]
    assert len(parameters(tensorrt_rtx.ICudaEngine.create_execution_context)) == 2


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_constants_exist(module: ModuleType) -> None:
    assert module.ExecutionContextAllocationStrategy.USER_MANAGED is not None
    assert module.TensorIOMode.INPUT != module.TensorIOMode.OUTPUT
    for kind in fake_tensorrt.DataType:
        assert getattr(module.DataType, kind.name).itemsize == kind.itemsize
        if kind.value is not None:
            assert tensorrt_rtx.nptype(getattr(tensorrt_rtx.DataType, kind.name)) is kind.value
    assert tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE is not None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("Builder", ["create_network", "create_builder_config", "create_optimization_profile"]),
        ("Builder", ["build_serialized_network", "build_serialized_network_to_stream"]),
        ("IStreamWriter", ["write"]),
        ("IBuilderConfig", ["progress_monitor", "add_optimization_profile", "num_compute_capabilities"]),
        ("IBuilderConfig", ["set_compute_capability", "create_timing_cache", "set_timing_cache"]),
        ("IProgressMonitor", ["phase_start", "step_complete", "phase_finish"]),
        ("OnnxParser", ["parse_from_file", "num_errors", "get_error"]),
        ("IOptimizationProfile", ["set_shape"]),
        ("IBuilderConfig", ["clear_flag", "profiling_verbosity"]),
        ("BuilderFlag", ["TF32"]),
        ("ProfilingVerbosity", ["DETAILED"]),
        ("LayerInformationFormat", ["JSON"]),
        ("EngineInspector", ["get_engine_information"]),
        ("ITimingCache", ["serialize", "combine"]),
    ],
)
def test_the_builder_has_what_compile_calls(kind: str, names: list[str]) -> None:
    for name in names:
        assert hasattr(getattr(tensorrt_rtx, kind), name)


CUDA_CALLS = [
    name for name, member in vars(fake_tensorrt.FakeCuda).items() if inspect.isfunction(member) and name[:4] == "cuda"
]


@pytest.mark.parametrize("name", CUDA_CALLS)
def test_cuda_calls_have_the_parameters_of_cuda_python(name: str) -> None:
    """cuda-python's docstrings begin with the signature, as in `cudaFree(devPtr)`."""
    signature = (inspect.getdoc(getattr(cuda_runtime, name)) or "").splitlines()[0]
    listed = signature.removeprefix(f"{name}(").removesuffix(")").split(", ")
    real = [part.split(":")[0].split("=")[0].split()[-1] for part in listed if part]
    wanted = list(inspect.signature(getattr(fake_tensorrt.FakeCuda, name)).parameters)[1:]
    assert real == wanted


def test_cuda_constants_exist() -> None:
    for name in ("cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost", "cudaMemcpyDeviceToDevice"):
        assert getattr(cuda_runtime.cudaMemcpyKind, name) == getattr(fake_tensorrt.cudaMemcpyKind, name)
    assert cuda_runtime.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed == 2
    assert cuda_runtime.cudaGraphNodeType.cudaGraphNodeTypeHost == 3
    assert cuda_runtime.cudaError_t.cudaErrorMemoryAllocation == 2
    assert cuda_runtime.cudaStreamNonBlocking == 1


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_our_logger_is_one_of_theirs_and_keeps_errors(module: ModuleType) -> None:
    log = Log()
    logger = make_logger(module, log)
    assert isinstance(logger, module.ILogger)
    logger.log(module.ILogger.Severity.ERROR, "broken\n  twice")
    logger.log(module.ILogger.Severity.INFO, "chatter")
    assert (log.errors, log.warnings) == (["broken twice"], [])
    assert log.explain("otherwise") == "broken twice"


def test_what_the_real_runtime_says_is_in_our_error(tmp_path: Path) -> None:
    """As far as a machine without a GPU gets: the real runtime refuses, and its own words come through."""
    plan = tmp_path / "plan"
    plan.write_bytes(b"this is no engine, however long it may be" * 10)
    stream = Stream(Cuda(fake_tensorrt.FakeCuda()))
    with pytest.raises(EngineError, match=r"tensorrt-rtx cannot load .*(Serialization|serialization)"):
        LoadedEngine(load_flavour("tensorrt-rtx"), plan, stream)
