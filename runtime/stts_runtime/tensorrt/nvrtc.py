"""NVRTC's built-in functions: TensorRT 8.6 compiles its fused attention with them while it builds.

NVRTC itself is part of TensorRT. Its built-ins are a library of their own, which TensorRT looks for by name, in CUDA
toolkits and in NVIDIA's pip package. Without it TensorRT goes on, with attention that is not fused.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

from stts_runtime.tensorrt.flavour import Flavour

_MODULE = "nvidia.cuda_nvrtc"


def load_nvrtc(flavour: Flavour) -> str | None:
    """Loads the library into this process if this version needs it; one sentence if it is not found."""
    return load_builtins(flavour.version) if flavour.is_before_10 else None


def load_builtins(version: str) -> str | None:
    """The same for a TensorRT by its version, which the library's goes by."""
    wanted = _cuda_of(version)
    if any(_loads(f"libnvrtc-builtins.so.{one}") for one in wanted):
        return None
    return (
        f"libnvrtc-builtins.so.{wanted[0]} is not found: TensorRT {version} compiles fused attention with it, and "
        f"builds slower engines without: pip install 'nvidia-cuda-nvrtc-cu12=={wanted[0]}.*'"
    )


def _cuda_of(version: str) -> tuple[str, ...]:
    """CUDA's versions that suit, the one that TensorRT was built with first: 12.2 where JetPack 6.0 has it, whose need
    for it was not tried.
    """
    return ("12.2", "12.0") if version.startswith("8.6.2") else ("12.0",)


def _loads(library: str) -> bool:
    """By its name as TensorRT would, or from the pip package: what was loaded by its path is then found by its name."""
    return any(_opens(place) for place in (library, *(str(folder / "lib" / library) for folder in _package_folders())))


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _package_folders() -> list[Path]:
    try:
        found = find_spec(_MODULE)
    except ModuleNotFoundError:
        return []
    return [] if found is None else [Path(folder) for folder in found.submodule_search_locations or ()]
