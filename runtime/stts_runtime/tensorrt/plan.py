"""Loading a serialized engine from its file."""

from __future__ import annotations

import mmap
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stts_runtime.tensorrt.flavour import Flavour
from stts_runtime.tensorrt.logger import Log, made, make_logger


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
