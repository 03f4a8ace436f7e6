"""Facts about the GPU and the libraries of CUDA."""

from __future__ import annotations

from stts_runtime.device import Device
from stts_runtime.device.system import debian_version
from stts_runtime.doctor.decode import kernels_fact
from stts_runtime.doctor.modules import Module, installed_version
from stts_runtime.doctor.report import Fact

_CUDNN_WHEELS = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
_CUDNN_PACKAGES = ("libcudnn9-cuda-13", "libcudnn9-cuda-12")
_CUDA_WHEELS = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")


def gpu_facts(device: Device, bindings: Module) -> list[Fact]:
    """`bindings` is the outcome of looking for cuda-bindings."""
    gpu = device.gpu
    return [
        Fact.of("GPU", f"{gpu.name}, {gpu.memory_bytes / 1e9:.1f} GB" if gpu else None, device.no_gpu_because),
        Fact.of("architecture", gpu.architecture if gpu else None, "there is no GPU to ask"),
        Fact.of("driver", device.driver, "NVIDIA's kernel module is not loaded"),
        Fact.of("CUDA of the driver", device.cuda, "no driver says it"),
        Fact.of("CUDA runtime", installed_version(*_CUDA_WHEELS), "no wheel of it; cuda-bindings has its own inside"),
        bindings.fact(),
        kernels_fact(device),
        Fact.of("cuDNN", _cudnn(), "not installed, and no engine of this version needs it"),
    ]


def _cudnn() -> str | None:
    packages = ((name, debian_version(name)) for name in _CUDNN_PACKAGES)
    from_debian = (f"{name} {version}" for name, version in packages if version)
    return installed_version(*_CUDNN_WHEELS) or next(from_debian, None)
