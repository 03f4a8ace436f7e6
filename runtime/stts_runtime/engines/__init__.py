"""Engines: what runs a bundle's graphs. The pipeline sees `VisionEngine` and `LanguageEngine` only."""

from stts_runtime.engines.load import load_language, load_vision
from stts_runtime.engines.seam import LanguageEngine, VisionEngine, VisionOutput

__all__ = ["LanguageEngine", "VisionEngine", "VisionOutput", "load_language", "load_vision"]
