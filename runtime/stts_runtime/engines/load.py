"""From the name of an engine to the class that runs it, and which one to take where nobody says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import LANGUAGE
from stts_runtime.device import this_device
from stts_runtime.engines.incremental_cpu import CpuIncremental
from stts_runtime.engines.incremental_device import DeviceIncremental
from stts_runtime.engines.interfaces import IncrementalVisionEngine, LanguageEngine, VisionEngine
from stts_runtime.engines.onnxruntime_cpu import CpuLanguage, CpuVision
from stts_runtime.engines.onnxruntime_cuda import LOWERING as CUDA
from stts_runtime.engines.onnxruntime_cuda import CudaLanguage, CudaVision, check_cuda
from stts_runtime.engines.saturation import saturation_note
from stts_runtime.engines.tensorrt import TensorRtLanguage, TensorRtVision, checked_plan
from stts_runtime.passports import EngineStore
from stts_runtime.tensorrt import FLAVOURS, FlavourName

EngineName = Literal["cpu", "cuda", "tensorrt", "tensorrt-rtx"]
"""`cpu`, `cuda`, or a `FlavourName`."""


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and what there is to say about the choice."""

    name: EngineName
    notes: tuple[str, ...] = ()


def choose_engine(bundle: Bundle, wanted: EngineName | None = None) -> EngineChoice:
    """What was asked for; else, if there is a GPU, what the bundle was compiled for, or `cuda` if it has graphs for
    it; else the CPU.

    An engine that does not fit this device is an error when it is loaded, and no reason to fall back to something much
    slower.
    """
    choice = _default_engine(bundle) if wanted is None else EngineChoice(wanted)
    note = saturation_note(bundle) if choice.name == "cpu" else None
    return choice if note is None else replace(choice, notes=(*choice.notes, note))


def _default_engine(bundle: Bundle) -> EngineChoice:
    for_gpu: list[EngineName] = [name for name in FLAVOURS if EngineStore(bundle.folder).has(LANGUAGE, name)]
    if CUDA in bundle.manifest.language.graphs:
        for_gpu.append("cuda")
    if not for_gpu:
        return EngineChoice("cpu")
    device = this_device()
    if device.gpu is None:
        note = f"the {for_gpu[0]} engines of this bundle are not used: no NVIDIA GPU here ({device.no_gpu_because})"
        return EngineChoice("cpu", (note,))
    return EngineChoice(for_gpu[0])


def flavour_of(engine: EngineName) -> FlavourName | None:
    """What compiled an engine; None for those that are not compiled."""
    return next((flavour for flavour in FLAVOURS if flavour == engine), None)


def check_engine(bundle: Bundle, engine: EngineName) -> None:
    """Raises `BundleError` if the language model, which everything needs, has no engine that would load here."""
    if engine == "cuda":
        check_cuda(bundle, bundle.manifest.language.graphs)
    elif engine != "cpu":
        checked_plan(bundle, LANGUAGE, engine)


def load_vision(
    bundle: Bundle, variant: str, engine: EngineName = "cpu", store: EngineStore | None = None
) -> VisionEngine:
    """Checks and loads one vision variant; `store` holds compiled engines in place of the bundle's own."""
    if engine == "cpu":
        return CpuVision(bundle, variant)
    return CudaVision.open(bundle, variant) if engine == "cuda" else TensorRtVision.open(bundle, variant, engine, store)


def load_incremental(bundle: Bundle, keep: float, engine: EngineName = "cpu") -> IncrementalVisionEngine:
    """Checks and loads what looks at streams: key frames, and those between at `keep`."""
    if engine == "cpu":
        return CpuIncremental(bundle, keep)
    return (
        DeviceIncremental.on_cuda(bundle, keep)
        if engine == "cuda"
        else DeviceIncremental.on_tensorrt(bundle, keep, engine)
    )


def load_frame(
    bundle: Bundle, variant: str, engine: EngineName, store: EngineStore | None = None
) -> IncrementalVisionEngine:
    """Checks and loads one variant for streams, run with `key=False`: the other is not needed; for checks.

    `store` as in `load_vision`.
    """
    flavour = flavour_of(engine)
    if flavour is not None:
        return DeviceIncremental.alone(bundle, variant, flavour, store)
    live = bundle.manifest.live
    return load_incremental(bundle, live.variants[variant].keep if live else 1.0, engine)


def load_language(bundle: Bundle, engine: EngineName = "cpu", store: EngineStore | None = None) -> LanguageEngine:
    """Checks and loads the language model, with an empty cache; `store` as in `load_vision`."""
    if engine == "cpu":
        return CpuLanguage(bundle)
    return CudaLanguage.open(bundle) if engine == "cuda" else TensorRtLanguage.open(bundle, engine, store)
