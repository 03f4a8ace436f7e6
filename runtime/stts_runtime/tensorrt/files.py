"""TensorRT's files: engines, loaded as they are on the disk, and caches in the user's folder."""

from __future__ import annotations

import mmap
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stts_runtime.device import Gpu
from stts_runtime.tensorrt.flavour import Flavour
from stts_runtime.tensorrt.logger import Log, made, make_logger


def cache_file(flavour: Flavour, gpu: Gpu, name: str) -> Path | None:
    """Where a cache of this flavour, version and GPU lies. Neither the file nor its folder needs to exist.

    None for a user without a home, who has no place for caches.
    """
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    device = f"{gpu.architecture}-{'-'.join(gpu.name.split())}"
    return Path(root, "stts-export", f"{flavour.name}-{flavour.version}", device, f"{name}.bin")


class LoadedPlan(NamedTuple):
    """TensorRT's own objects; the runtime has to live as long as the engine."""

    runtime: Any
    engine: Any


def load_plan(flavour: Flavour, plan: Path, log: Log, failure: str) -> LoadedPlan:
    """Raises `EngineError` with `failure` and TensorRT's text if it refuses the engine."""
    logger = make_logger(flavour.api, log)
    runtime = made(f"{flavour.name} does not start", log, lambda: flavour.api.Runtime(logger))
    with plan.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        load = partial(runtime.deserialize_cuda_engine, content)
        engine = made(failure, log, load)
        # It refers to the mapping, which must be closed.
        del load
    return LoadedPlan(runtime, engine)
