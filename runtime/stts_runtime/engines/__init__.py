"""Engines: what runs a bundle's graphs. The pipeline sees `VisionEngine` and `LanguageEngine` only."""

from stts_runtime.engines.interfaces import (
    IncrementalOutput,
    IncrementalVisionEngine,
    LanguageEngine,
    VisionEngine,
    VisionOutput,
)
from stts_runtime.engines.load import (
    EngineChoice,
    EngineName,
    check_engine,
    choose_engine,
    flavour_of,
    load_incremental,
    load_language,
    load_vision,
)

__all__ = [
    "EngineChoice",
    "EngineName",
    "IncrementalOutput",
    "IncrementalVisionEngine",
    "LanguageEngine",
    "VisionEngine",
    "VisionOutput",
    "check_engine",
    "choose_engine",
    "flavour_of",
    "load_incremental",
    "load_language",
    "load_vision",
]
