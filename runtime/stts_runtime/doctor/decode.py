"""What runs single tokens on the cuda engine: decode kernels of our own, or ONNX Runtime, and why."""

from __future__ import annotations

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA
from stts_runtime.cuda_decode import ONNX_RUNTIME, VARIABLE, wanted
from stts_runtime.cuda_decode.driver import best_architecture
from stts_runtime.device import Device
from stts_runtime.doctor.report import Fact
from stts_runtime.engines.cuda_kernels import misfit_of


def kernels_fact(device: Device) -> Fact:
    """Whether the kernels are wanted and run on this device."""
    because = _obstacle(device)
    kernels = f"of compute_{_architecture(device)}, where a bundle's decoder fits"
    return Fact.of("decode kernels", None if because else kernels, because)


def single_tokens_fact(bundle: Bundle, device: Device) -> Fact | None:
    """Which way a bundle's single tokens take on the cuda engine; None if it has nothing for that engine."""
    graph = bundle.manifest.language.graphs.get(CUDA)
    if graph is None:
        return None
    because = _obstacle(device) or misfit_of(bundle.file(graph.graph), bundle.file(graph.weights))
    kernels = (
        f"the decode kernels of compute_{_architecture(device)}, unless they and ONNX Runtime answer the bundle's "
        "proof differently once it is loaded"
    )
    return Fact.of("single tokens on cuda", f"ONNX Runtime: {because}" if because else kernels, None)


def _architecture(device: Device) -> int | None:
    """Architecture of the kernels that the GPU runs; None without a GPU, or with one that is too old."""
    capability = device.gpu.architecture.removeprefix("sm") if device.gpu else ""
    return best_architecture(int(capability)) if capability.isdecimal() else None


def _obstacle(device: Device) -> str | None:
    """Why the device or the environment rules out the kernels, as a clause."""
    if device.gpu is None:
        return "there is no GPU to run them"
    if _architecture(device) is None:
        return f"they need compute capability 8.0 or newer, and the GPU is {device.gpu.architecture}"
    kernels, _ = wanted()
    return None if kernels else f"{VARIABLE}={ONNX_RUNTIME} is set"
