"""ONNX Runtime, and the targets `cpu` and `cuda` that are for it."""

from __future__ import annotations

from dataclasses import replace

from stts_runtime.device import Device
from stts_runtime.doctor.modules import Module, bindings_obstacle, numbers
from stts_runtime.doctor.report import Fact, Target

# What opset 24 needs. Its wheels are for Python 3.11 and newer.
_MINIMUM = (1, 25)
_MINIMUM_PYTHON = (3, 11)
_INSTALL = "pip install 'stts-export[cpu]'"

# The first whose attention operator can norm and turn queries and keys.
_MINIMUM_CUDA = (1, 31)
_CUDA_PROVIDER = "CUDAExecutionProvider"
_INSTALL_CUDA = "pip install 'stts-export[cuda]'"
# The two packages hold the same module, and the one that was installed last wins.
_REPLACE_BY_CUDA = f"pip uninstall -y onnxruntime && {_INSTALL_CUDA}"


def onnxruntime_facts(onnxruntime: Module) -> list[Fact]:
    providers = ", ".join(onnxruntime.providers)
    return [onnxruntime.fact(), Fact.of("ONNX Runtime providers", providers or None, onnxruntime.because)]


def cpu_target(onnxruntime: Module, python: tuple[int, int]) -> Target:
    """`python` is the version that this runs on."""
    because, repairable = _cpu(onnxruntime)
    ready = because is None
    if because is not None and repairable and python < _MINIMUM_PYTHON:
        because = (
            f"{because}, which is not made for Python {_dotted(python)} but for {_dotted(_MINIMUM_PYTHON)} and newer"
        )
        repairable = False
    return Target(
        name="cpu",
        ready=ready,
        can_compile=False,
        because=f"{because or f'ONNX Runtime {onnxruntime.version} runs the graphs as they are, without compiling'}.",
        command=_INSTALL if repairable else None,
    )


def _cpu(onnxruntime: Module) -> tuple[str | None, bool]:
    """What is in the way, and whether installing helps."""
    needed = f"the graphs need ONNX Runtime {_dotted(_MINIMUM)} or newer"
    if onnxruntime.version is None:
        return f"{onnxruntime.because}, and {needed}", onnxruntime.is_missing
    if numbers(onnxruntime.version) < _MINIMUM:
        return f"ONNX Runtime {onnxruntime.version} is installed, and {needed}", True
    return None, False


def cuda_target(device: Device, onnxruntime: Module, bindings: Module) -> Target:
    """`bindings` is the outcome of looking for cuda-bindings."""
    obstacle = _cuda(device, onnxruntime, bindings)
    ready = f"ONNX Runtime {onnxruntime.version} runs the graphs for it as they are, without compiling"
    because, command = obstacle or (ready, None)
    return Target(name="cuda", ready=obstacle is None, can_compile=False, because=_sentence(because), command=command)


def _cuda(device: Device, onnxruntime: Module, bindings: Module) -> tuple[str, str | None] | None:
    """What is in the way, as a clause, and the command against it."""
    if device.gpu is None:
        return f"its engines run on an NVIDIA GPU, and {device.no_gpu_because}", None
    if onnxruntime.version is None:
        return str(onnxruntime.because), _INSTALL_CUDA if onnxruntime.is_missing else None
    if _CUDA_PROVIDER not in onnxruntime.providers:
        return f"the ONNX Runtime {onnxruntime.version} that is installed has no CUDA provider", _REPLACE_BY_CUDA
    if numbers(onnxruntime.version) < _MINIMUM_CUDA:
        needed = f"its graphs need ONNX Runtime {_dotted(_MINIMUM_CUDA)} or newer"
        return f"ONNX Runtime {onnxruntime.version} is installed, and {needed}", _INSTALL_CUDA
    return bindings_obstacle(device, replace(onnxruntime, label="cuda"), bindings, _INSTALL_CUDA)


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
