"""Engines: what runs a bundle's graphs. The pipeline sees `VisionEngine` and `LanguageEngine` only."""

from stts_runtime.bundle.contract import EngineName
from stts_runtime.engines.backends import (
    BACKENDS,
    EngineChoice,
    check_engine,
    choose_engine,
    load_incremental,
    load_language,
    load_vision,
)
from stts_runtime.engines.interfaces import (
    Backend,
    FrameEngine,
    IncrementalOutput,
    IncrementalVisionEngine,
    LanguageEngine,
    VisionEngine,
    VisionOutput,
)
from stts_runtime.engines.onnxruntime_session import cpu_threads

__all__ = [
    "BACKENDS",
    "Backend",
    "EngineChoice",
    "EngineName",
    "FrameEngine",
    "IncrementalOutput",
    "IncrementalVisionEngine",
    "LanguageEngine",
    "VisionEngine",
    "VisionOutput",
    "check_engine",
    "choose_engine",
    "cpu_threads",
    "load_incremental",
    "load_language",
    "load_vision",
]
