"""Finding TensorRT: which module carries which flavour, what its version can do, and what to say where one is missing.

What versions differ in is asked here and nowhere else, of the module where that is possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stts_runtime.bundle.contract import FlavourName
from stts_runtime.errors import MissingExtraError

_MODULES: dict[FlavourName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_REMEDIES: dict[FlavourName, str] = {
    "tensorrt": "pip install 'stts-export[tensorrt]', or on a Jetson: sudo apt install nvidia-jetpack, and a virtual "
    "environment made with --system-site-packages",
    "tensorrt-rtx": "pip install 'stts-export[tensorrt-rtx]'",
}


@dataclass(frozen=True)
class Flavour:
    """One of the two, imported."""

    name: FlavourName
    api: Any
    """The Python module."""

    @property
    def version(self) -> str:
        """All parts of it: engines of another patch release do not load either."""
        return str(self.api.__version__)

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def compiles_without_gpu(self) -> bool:
        """TensorRT-RTX compiles for architectures that are named; TensorRT for the GPU it finds."""
        return self.name == "tensorrt-rtx"

    @property
    def writes_to_files(self) -> bool:
        """Whether an engine can be built straight into a file; TensorRT 10.3 builds it in memory first."""
        return hasattr(self.api.Builder, "build_serialized_network_to_stream")

    @property
    def tells_progress(self) -> bool:
        """TensorRT 8.6 says nothing until a build is over."""
        return hasattr(self.api, "IProgressMonitor")

    @property
    def takes_strategies(self) -> bool:
        """Whether an execution context is told who allocates its memory; TensorRT 8.6 has a method of its own."""
        return hasattr(self.api, "ExecutionContextAllocationStrategy")

    @property
    def has_bf16(self) -> bool:
        """TensorRT 8.6 does not."""
        return hasattr(self.api.DataType, "BF16")

    @property
    def is_before_10(self) -> bool:
        """TensorRT-RTX counts its versions separately, and its first is newer than TensorRT 10."""
        return self.name == "tensorrt" and self.number < (10, 0)

    @property
    def is_weakly_typed(self) -> bool:
        """Whether networks leave the choice of precisions to the builder, as in TensorRT 8.6. Those of TensorRT 11 are
        strongly typed without a flag for it.
        """
        return self.is_before_10 and not hasattr(self.api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    @property
    def reads_newest_graphs(self) -> bool:
        """TensorRT-RTX counts versions separately, and every one of them is newer than TensorRT 10.15's operators."""
        return self.name == "tensorrt-rtx"


def load_flavour(name: FlavourName) -> Flavour:
    """Raises `MissingExtraError` if it is not installed, or does not load."""
    try:
        return Flavour(name, import_module(_MODULES[name]))
    except ModuleNotFoundError:
        raise MissingExtraError(f"{name} is not installed, and its engines need it: {_REMEDIES[name]}") from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(f"{name} is installed but does not load ({error}): {_REMEDIES[name]}") from None
