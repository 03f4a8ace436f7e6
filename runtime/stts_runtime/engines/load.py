"""From a passport's backend to the class that runs it."""

from __future__ import annotations

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Passport
from stts_runtime.engines.onnxruntime_cpu import CpuLanguage, CpuVision
from stts_runtime.engines.seam import LanguageEngine, VisionEngine
from stts_runtime.errors import BundleError

_BACKENDS = {"onnxruntime-cpu": (CpuVision, CpuLanguage)}


def load_vision(bundle: Bundle, variant: str) -> VisionEngine:
    """Checks and loads one vision variant."""
    vision, _ = _backend(bundle.manifest.variants[variant].engine)
    return vision(bundle, variant)


def load_language(bundle: Bundle) -> LanguageEngine:
    """Checks and loads the language model, with an empty cache."""
    _, language = _backend(bundle.manifest.language.engine)
    return language(bundle)


def _backend(passport: Passport) -> tuple[type[CpuVision], type[CpuLanguage]]:
    if passport.backend not in _BACKENDS:
        raise BundleError(
            f"{passport.graph} was built for the backend {passport.backend!r}, which this runtime does not have "
            f"({', '.join(_BACKENDS)}); rebuild it with: {passport.build_command}"
        )
    return _BACKENDS[passport.backend]
