"""From the name of an engine to the class that runs it."""

from __future__ import annotations

from stts_runtime.bundle import Bundle
from stts_runtime.engines.onnxruntime_cpu import CpuLanguage, CpuVision
from stts_runtime.engines.seam import LanguageEngine, VisionEngine


def load_vision(bundle: Bundle, variant: str) -> VisionEngine:
    """Checks and loads one vision variant."""
    return CpuVision(bundle, variant)


def load_language(bundle: Bundle) -> LanguageEngine:
    """Checks and loads the language model, with an empty cache."""
    return CpuLanguage(bundle)
