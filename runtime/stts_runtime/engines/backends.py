"""Every target by the name that users give it, and which one to take where nobody says.

A new target is a file with its `Backend` (`backend.py`), a line in the table below and its name in the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, EngineName
from stts_runtime.device import CPU, this_device
from stts_runtime.engines.backend import Backend
from stts_runtime.engines.cpu import CpuBackend
from stts_runtime.engines.cuda import CudaBackend
from stts_runtime.engines.frames import IncrementalVision
from stts_runtime.engines.interfaces import LanguageEngine, VisionEngine
from stts_runtime.engines.slots import LanguageSlots
from stts_runtime.engines.tensorrt import TensorRtBackend
from stts_runtime.errors import UserError

BACKENDS: Mapping[EngineName, Backend] = {
    "tensorrt": TensorRtBackend("tensorrt"),
    "tensorrt-rtx": TensorRtBackend("tensorrt-rtx"),
    "cuda": CudaBackend(),
    "cpu": CpuBackend(),
}
"""The fastest first: the default is the first that the bundle is for."""


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and what there is to say about the choice."""

    name: EngineName
    notes: tuple[str, ...] = ()


def choose_engine(bundle: Bundle, wanted: EngineName | None = None, device: str | None = None) -> EngineChoice:
    """What was asked for; else, if there is a GPU, what the bundle was compiled for, or `cuda` if it has graphs for
    it; else the CPU.

    An engine that does not fit this device is an error when it is loaded, and no reason to fall back to something much
    slower. Raises `UserError` for a `device` that the engine does not run on.
    """
    if wanted is None and device == CPU:
        wanted = "cpu"
    choice = _default_engine(bundle) if wanted is None else EngineChoice(wanted)
    backend = BACKENDS[choice.name]
    _check_device(backend, device)
    note = backend.note(bundle)
    return choice if note is None else EngineChoice(choice.name, (*choice.notes, note))


def _check_device(backend: Backend, device: str | None) -> None:
    if device is None or backend.needs_gpu == (device != CPU):
        return
    if backend.needs_gpu:
        raise UserError(
            f"the {backend.name} engine runs on a GPU, which is named cuda:0, cuda:1 and so on, got {device!r}"
        )
    raise UserError(
        f"{device} was asked for, and the {backend.name} engine runs on no GPU: leave the device out, or take another "
        "engine"
    )


def _default_engine(bundle: Bundle) -> EngineChoice:
    for_gpu = [one.name for one in BACKENDS.values() if one.needs_gpu and one.has(bundle, LANGUAGE)]
    if not for_gpu:
        return EngineChoice("cpu")
    device = this_device()
    if device.gpu is None:
        note = f"the {for_gpu[0]} engines of this bundle are not used: no NVIDIA GPU here ({device.no_gpu_because})"
        return EngineChoice("cpu", (note,))
    return EngineChoice(for_gpu[0])


def check_engine(bundle: Bundle, engine: EngineName) -> None:
    """As `Backend.check`."""
    BACKENDS[engine].check(bundle)


def load_vision(bundle: Bundle, variant: str, engine: EngineName = "cpu") -> VisionEngine:
    """As `Backend.load_vision`."""
    return BACKENDS[engine].load_vision(bundle, variant)


def load_incremental(bundle: Bundle, keep: float, engine: EngineName = "cpu", most: int = 1) -> IncrementalVision:
    """Checks and loads what looks at streams: key frames, and those between at `keep`; up to `most` frames at once, as
    far as the bundle has graphs for them.
    """
    load = BACKENDS[engine].load_frames
    return IncrementalVision(bundle.choose_incremental(keep), lambda name: load(bundle, name, most))


def load_language(bundle: Bundle, engine: EngineName = "cpu") -> LanguageEngine:
    """As `Backend.load_language`."""
    return BACKENDS[engine].load_language(bundle)


def load_slots(bundle: Bundle, most: int, engine: EngineName = "cpu") -> LanguageSlots:
    """As `Backend.load_slots`."""
    return BACKENDS[engine].load_slots(bundle, most)
