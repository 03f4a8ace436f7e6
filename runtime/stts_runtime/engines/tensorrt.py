"""Engines compiled by TensorRT or TensorRT-RTX: the vision variants and the language model, on the device throughout.

Visual tokens never leave the device: the vision engine hands over a device array, and the language engine copies it
into its own input.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import (
    FRAME_INPUTS,
    FRAME_OUTPUTS,
    INDICES,
    LANGUAGE,
    FlavourName,
    cache_names,
    vision_inputs,
    vision_outputs,
    vision_part,
)
from stts_runtime.bundle.manifest import Graph, compilable
from stts_runtime.device import Device, this_device
from stts_runtime.engines.cuda_memory import Stream, load_cuda
from stts_runtime.engines.device_frames import DeviceFrames
from stts_runtime.engines.interfaces import VisionOutput, check_choice
from stts_runtime.engines.slots import LanguageSlots
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.engines.tensorrt_language import TensorRtLanguage
from stts_runtime.errors import BundleError, EngineError
from stts_runtime.passports import EngineStore, Passport, check_device, check_installed, check_passport
from stts_runtime.passports.store import again
from stts_runtime.tensorrt import Flavour, load_flavour
from stts_runtime.tensorrt.files import cache_file


@dataclass(frozen=True)
class TensorRtBackend:
    """The `tensorrt` or the `tensorrt-rtx` target."""

    name: FlavourName
    store: EngineStore | None = None
    """Where the engines lie; None: in the bundle."""
    needs_gpu: bool = True

    def has(self, bundle: Bundle, part: str) -> bool:
        return self._store(bundle).has(part, self.name)

    def graph(self, bundle: Bundle, part: str) -> Graph:
        return bundle.manifest.parts()[part][self._store(bundle).read(part, self.name).lowering]

    def check(self, bundle: Bundle) -> None:
        checked_plan(bundle, LANGUAGE, self.name, self.store)

    def note(self, bundle: Bundle) -> str | None:  # noqa: ARG002  # there is nothing to say
        return None

    def load_vision(self, bundle: Bundle, variant: str) -> TensorRtVision:
        record = bundle.manifest.variants[variant]
        control = record.is_control
        names = [
            *vision_inputs(is_control=control),
            *vision_outputs(is_pruned=record.is_pruned, is_control=control),
        ]
        loaded, passport = _load_engine(bundle, vision_part(variant), self, names)
        return TensorRtVision(loaded, bundle.manifest.budget(record), passport.lowering)

    def load_frames(self, bundle: Bundle, variant: str, most: int = 1) -> list[DeviceFrames]:  # noqa: ARG002
        """One frame at a time: no engine is compiled for more."""
        loaded, _ = _load_engine(bundle, vision_part(variant), self, [*FRAME_INPUTS, *FRAME_OUTPUTS])
        arrays = {one: loaded.array(one) for one in (*FRAME_INPUTS, *FRAME_OUTPUTS)}
        context = loaded.context()
        context.bind(arrays)
        return [DeviceFrames(loaded.stream, arrays, context.repeated(), loaded.keep_kernels)]

    def load_language(self, bundle: Bundle) -> TensorRtLanguage:
        model = bundle.manifest.language
        caches = cache_names(model.layers)
        others = ["visual_tokens", "logits", "next_token"]
        names = ["token_ids", "positions", "start", *others, *caches, *(f"new_{name}" for name in caches)]
        loaded, passport = _load_engine(bundle, LANGUAGE, self, names, INDICES)
        in_place = model.graphs[passport.lowering].caches_in_place
        image_patch_id = bundle.manifest.prompt.image_patch_id
        return TensorRtLanguage(loaded, image_patch_id, passport.lowering, caches_in_place=in_place)

    def load_slots(self, bundle: Bundle, most: int) -> LanguageSlots:  # noqa: ARG002
        """One answer at a time: no engine is compiled for more."""
        return LanguageSlots([self.load_language(bundle)])

    def _store(self, bundle: Bundle) -> EngineStore:
        return self.store or EngineStore(bundle.folder)


def checked_plan(
    bundle: Bundle, part: str, name: FlavourName, store: EngineStore | None = None
) -> tuple[Flavour, Passport, Path]:
    """The engine of a part, once everything that can be told about it has been checked; nothing of it is loaded yet.

    `store` holds the engines, in place of the bundle's own.
    """
    store, device = store or EngineStore(bundle.folder), this_device()
    if not store.has(part, name):
        raise _missing(bundle, part, name, device)
    passport = store.read(part, name)
    check_passport(bundle, part, name, passport)
    flavour = load_flavour(name)
    check_installed(bundle.folder, passport, flavour, device.platform)
    check_device(bundle.folder, passport, device)
    return flavour, passport, store.plan(passport)


def _missing(bundle: Bundle, part: str, name: FlavourName, device: Device) -> BundleError:
    """Why there is no engine, and what can be done about it here."""
    what = f"{bundle.folder} has no {name} engine of {part}"
    graphs = bundle.manifest.parts()[part]
    if not compilable(graphs):
        return BundleError(
            f"{what}, and no graphs to compile one from (it has {', '.join(graphs)}); build it again with: "
            f"{bundle.manifest.rebuild_for(name)}"
        )
    if device.gpu is None:
        return BundleError(
            f"{what}, and no NVIDIA GPU is here to run one ({device.no_gpu_because}); --engine cpu needs none"
        )
    return BundleError(f"{what}; compile it on this machine: {again(bundle.folder, part, name)}")


def _load_engine(
    bundle: Bundle, part: str, backend: TensorRtBackend, names: Collection[str], optional: Collection[str] = ()
) -> tuple[LoadedEngine, Passport]:
    """The engine of a part; it must have the tensors `names`, and may have those of `optional`."""
    flavour, passport, plan = checked_plan(bundle, part, backend.name, backend.store)
    gpu = this_device().gpu
    # One file an engine: whoever saves one writes it whole.
    kernels = cache_file(flavour, gpu, f"kernels-{passport.plan_sha256}") if gpu else None
    loaded = LoadedEngine(flavour, plan, Stream(load_cuda()), kernels)
    found, wanted = set(loaded.names), set(names)
    odd = (wanted - found) | (found - wanted - set(optional))
    if odd:
        raise BundleError(f"{plan} is not the engine that the manifest describes: {min(odd)} differs")
    return loaded, passport


class TensorRtVision:
    """One vision variant on the GPU."""

    def __init__(self, loaded: LoadedEngine, budget: TokenBudget, lowering: str) -> None:
        self._loaded, self._budget, self.lowering = loaded, budget, lowering
        self._arrays = {name: loaded.array(name) for name in loaded.names}
        context = loaded.context()
        context.bind(self._arrays)
        self.enqueue = context.repeated()
        """Runs the engine on what was uploaded last, without waiting; for benchmarks."""

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        """RGB frames (T, H, W, 3) uint8 -> the window's visual tokens, on the device until the next run."""
        check_choice(given, self._budget)
        arrays, stream = self._arrays, self._loaded.stream
        if frames.shape != arrays["frames"].shape:
            raise EngineError(f"frames are {frames.shape} and the engine takes {arrays['frames'].shape}")
        stream.upload(arrays["frames"], frames)
        if given is not None:
            stream.upload(arrays["kept_groups"], np.flatnonzero(given))
        self.enqueue()
        stream.synchronize()
        self._loaded.keep_kernels()
        return self._output(given)

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        return self._loaded.stream.download(output.visual_tokens).astype(np.float32)

    def _output(self, given: NDArray[np.bool_] | None) -> VisionOutput:
        arrays, stream = self._arrays, self._loaded.stream
        visual = arrays["visual_tokens"]
        shape = self._budget.frames, self._budget.groups
        if self._budget.keep == 1:
            return VisionOutput(visual, np.ones(shape, dtype=np.bool_), None)
        kept = np.zeros(shape, dtype=np.bool_)
        kept.reshape(-1)[stream.download(arrays["kept_groups"])] = True
        return VisionOutput(visual, kept if given is None else given, stream.download(arrays["scores"]))
