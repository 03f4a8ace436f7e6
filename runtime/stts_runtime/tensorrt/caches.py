"""What TensorRT learns on a device and can use again: files in the user's cache folder, never in a bundle."""

from __future__ import annotations

import os
from pathlib import Path

from stts_runtime.device import Gpu
from stts_runtime.tensorrt.flavour import Flavour


def cache_file(flavour: Flavour, gpu: Gpu, name: str) -> Path:
    """Where a cache of this flavour, version and GPU lies. Neither the file nor its folder needs to exist."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    device = f"{gpu.architecture}-{'-'.join(gpu.name.split())}"
    return Path(root, "stts-export", f"{flavour.name}-{flavour.version}", device, f"{name}.bin")
