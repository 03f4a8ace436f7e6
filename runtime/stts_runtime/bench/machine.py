"""What a figure was measured on; every file under benchmarks/ holds it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil
from pydantic import BaseModel, ConfigDict

from stts_runtime.device import this_device
from stts_runtime.device.system import processor


class Machine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    processor: str
    cores: int
    memory_gb: float
    python: str
    onnxruntime: str
    gpu: str | None = None
    driver: str | None = None


def machine() -> Machine:
    device = this_device()
    return Machine(
        processor=processor(),
        cores=psutil.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        python=platform.python_version(),
        # Packages of several names hold the module; what is loaded says its own version.
        onnxruntime=getattr(sys.modules.get("onnxruntime"), "__version__", None) or _version("onnxruntime"),
        gpu=device.gpu.name if device.gpu else None,
        driver=device.driver,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed under this name"
