"""Engines compiled by TensorRT or TensorRT-RTX: the vision variants and the language model, on the device throughout.

Visual tokens never leave the device: the vision engine hands over a device array, and the language engine copies it
into its own input.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import LANGUAGE, VISION, compilable
from stts_runtime.device import Device, this_device
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream, load_cuda
from stts_runtime.engines.indices import INDICES, indices_of
from stts_runtime.engines.interfaces import VisionOutput, check_choice, check_room
from stts_runtime.engines.names import cache_names
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.errors import BundleError, EngineError
from stts_runtime.passports import EngineStore, Passport, check_device, check_installed, check_passport
from stts_runtime.passports.store import again
from stts_runtime.prompt import Tokens
from stts_runtime.tensorrt import Flavour, FlavourName, load_flavour
from stts_runtime.tensorrt.files import cache_file


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


def load_engine(
    bundle: Bundle,
    part: str,
    name: FlavourName,
    names: Collection[str],
    optional: Collection[str] = (),
    store: EngineStore | None = None,
) -> tuple[LoadedEngine, Passport]:
    """The engine of a part; it must have the tensors `names`, and may have those of `optional`."""
    flavour, passport, plan = checked_plan(bundle, part, name, store)
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

    @classmethod
    def open(
        cls, bundle: Bundle, variant: str, flavour: FlavourName, store: EngineStore | None = None
    ) -> TensorRtVision:
        """Loads a variant of a bundle; `store` holds the engines in place of the bundle's own."""
        record = bundle.manifest.variants[variant]
        names = ["frames", "visual_tokens", *(["scores", "kept_groups"] if record.is_pruned else [])]
        loaded, passport = load_engine(bundle, f"{VISION}.{variant}", flavour, names, store=store)
        return cls(loaded, bundle.manifest.budget(record), passport.lowering)

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


class TensorRtLanguage:
    """The language model on the GPU, its cache written in place where the graph can.

    Every engine takes `start`; what else follows from the number of tokens is an input of some (`engines.indices`).
    """

    def __init__(self, loaded: LoadedEngine, image_patch_id: int, lowering: str, *, caches_in_place: bool) -> None:
        self._loaded, self._image_patch_id, self.lowering = loaded, image_patch_id, lowering
        self.length = 0
        caches = [name for name in loaded.names if f"new_{name}" in loaded.names]
        self.context = loaded.shape(caches[0])[-2]
        of_a_call = [name for name in ("token_ids", "positions", *INDICES) if name in loaded.names]
        others = ("visual_tokens", "logits", "next_token")
        self._arrays = {name: loaded.array(name, longest=self.context) for name in (*of_a_call, *others)}
        self._host = {name: self._pinned(self._arrays[name]) for name in of_a_call}
        self._calls = self._calls_over(caches, caches_in_place)
        self._turn = 0

    @classmethod
    def open(cls, bundle: Bundle, flavour: FlavourName, store: EngineStore | None = None) -> TensorRtLanguage:
        """Loads the language model of a bundle, with an empty cache; `store` holds the engines in place of its own."""
        model = bundle.manifest.language
        caches = cache_names(model.layers)
        others = ["visual_tokens", "logits", "next_token"]
        names = ["token_ids", "positions", "start", *others, *caches, *(f"new_{name}" for name in caches)]
        loaded, passport = load_engine(bundle, LANGUAGE, flavour, names, INDICES, store)
        in_place = model.graphs[passport.lowering].caches_in_place
        return cls(loaded, bundle.manifest.prompt.image_patch_id, passport.lowering, caches_in_place=in_place)

    def _calls_over(self, caches: list[str], in_place: bool) -> list[_Calls]:
        """One set of caches that is read and written, or two between which every call goes to and fro."""
        first = {name: self._loaded.array(name) for name in caches}
        second = first if in_place else {name: self._loaded.array(name) for name in caches}
        ways = [(first, first)] if in_place else [(first, second), (second, first)]
        return [_Calls(self._loaded, self._arrays, old, new) for old, new in ways]

    def _pinned(self, array: DeviceArray) -> PinnedArray:
        assert array.dtype is not None, "whole numbers have a type in numpy"
        return PinnedArray(self._loaded.stream.cuda, array.shape, array.dtype)

    def show(self, visual_tokens: DeviceArray | NDArray[Any]) -> None:
        self._loaded.stream.put(self._arrays["visual_tokens"], visual_tokens)
        self._loaded.stream.synchronize()

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        self._upload(tokens)
        self._calls[self._turn].run(len(tokens))
        next_token = int(self._loaded.stream.download(self._arrays["next_token"])[0])
        self._turn = (self._turn + 1) % len(self._calls)
        self.length += len(tokens)
        # Prefills and single tokens have kernels of their own.
        self._loaded.keep_kernels("single token" if len(tokens) == 1 else "prefill")
        return next_token

    def _upload(self, tokens: Tokens) -> None:
        """Waits for nothing: the last call ended with a download, so its numbers in pinned memory have been read."""
        values = indices_of(tokens.ids, self.length, self._image_patch_id)
        values |= {"token_ids": tokens.ids, "positions": tokens.positions}
        for name, host in self._host.items():
            count = len(values[name])
            host.values[:count] = values[name]
            self._loaded.stream.upload_pinned(self._arrays[name], host, end=count)

    def logits(self) -> NDArray[np.float32]:
        return self._loaded.stream.download(self._arrays["logits"]).astype(np.float32).reshape(-1)

    def rewind(self, length: int) -> None:
        self.length = length


class _Calls:
    """The two kinds of calls over one pair of caches: of any length, and of a single token."""

    def __init__(
        self,
        loaded: LoadedEngine,
        arrays: dict[str, DeviceArray],
        old: dict[str, DeviceArray],
        new: dict[str, DeviceArray],
    ) -> None:
        bindings = {**arrays, **old, **{f"new_{name}": array for name, array in new.items()}}
        self._any, one = loaded.context(), loaded.context()
        for context in (self._any, one):
            context.bind(bindings)
        one.set_length(1)
        self._one = one.repeated()

    def run(self, length: int) -> None:
        if length == 1:
            self._one()
            return
        self._any.set_length(length)
        self._any.enqueue()
