"""Engines: what runs a bundle's graphs. The pipeline sees `VisionEngine` and `LanguageEngine` only."""

from stts_runtime.engines.interfaces import LanguageEngine, LiveOutput, LiveVisionEngine, VisionEngine, VisionOutput
from stts_runtime.engines.load import (
    EngineChoice,
    EngineName,
    check_engine,
    choose_engine,
    flavour_of,
    load_language,
    load_live,
    load_vision,
)

__all__ = [
    "EngineChoice",
    "EngineName",
    "LanguageEngine",
    "LiveOutput",
    "LiveVisionEngine",
    "VisionEngine",
    "VisionOutput",
    "check_engine",
    "choose_engine",
    "flavour_of",
    "load_language",
    "load_live",
    "load_vision",
]
