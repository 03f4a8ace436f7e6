"""ONNX Runtime, and the targets `cpu` and `cuda` that are for it."""

from __future__ import annotations

from stts_runtime.doctor.modules import Module, numbers
from stts_runtime.doctor.report import Fact, Target

# What opset 24 needs. Its wheels are for Python 3.11 and newer.
_MINIMUM = (1, 25)
_MINIMUM_PYTHON = (3, 11)
_INSTALL = "pip install 'stts-export[cpu]'"


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


def cuda_target() -> Target:
    return Target(
        name="cuda", ready=False, can_compile=False, because="This version has no engine for it yet.", command=None
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
