"""What TensorRT learns on a device and can use again: files in the user's cache folder, never in a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from stts_runtime.device import Gpu
from stts_runtime.tensorrt.flavour import Flavour


def cache_file(kind: Literal["timing", "kernels"], flavour: Flavour, gpu: Gpu) -> Path:
    """Where the cache of this flavour, version and GPU lies; its folder exists afterwards."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root, "stts-export", f"{flavour.name}-{flavour.version}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{kind}-{gpu.architecture}-{'-'.join(gpu.name.split())}.bin"
