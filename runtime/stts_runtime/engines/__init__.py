"""Engines: what runs a bundle's graphs. The pipeline sees `VisionEngine` and `LanguageEngine` only."""

from stts_runtime.bundle.contract import EngineName
from stts_runtime.engines.backend import Backend
from stts_runtime.engines.backends import (
    BACKENDS,
    EngineChoice,
    check_engine,
    choose_engine,
    load_incremental,
    load_language,
    load_slots,
    load_vision,
)
from stts_runtime.engines.frames import FrameEngine, FrameInput, IncrementalOutput, IncrementalVisionEngine
from stts_runtime.engines.interfaces import LanguageEngine, VisionEngine, VisionOutput
from stts_runtime.engines.onnxruntime_session import cpu_threads
from stts_runtime.engines.slots import LanguageSlots

__all__ = [
    "BACKENDS",
    "Backend",
    "EngineChoice",
    "EngineName",
    "FrameEngine",
    "FrameInput",
    "IncrementalOutput",
    "IncrementalVisionEngine",
    "LanguageEngine",
    "LanguageSlots",
    "VisionEngine",
    "VisionOutput",
    "check_engine",
    "choose_engine",
    "cpu_threads",
    "load_incremental",
    "load_language",
    "load_slots",
    "load_vision",
]
