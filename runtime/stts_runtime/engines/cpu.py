"""The `cpu` target: ONNX Runtime's CPU provider."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FRAME_OUTPUTS, HALF_WEIGHTS, LANGUAGE, WHOLE_WEIGHTS, EngineName
from stts_runtime.bundle.manifest import Graph, Graphs, major_minor
from stts_runtime.engines.cpu_language import CpuLanguage, cpu_slots
from stts_runtime.engines.frames import FrameInput, IncrementalOutput, check_frame, incremental_sizes, outputs_of_frames
from stts_runtime.engines.interfaces import VisionOutput, check_choice
from stts_runtime.engines.onnxruntime_session import (
    Signature,
    cpu_runtime,
    cpu_session,
    foreign_errors_as,
)
from stts_runtime.engines.saturation import saturation_note
from stts_runtime.engines.slots import LanguageSlots
from stts_runtime.errors import BundleError, EngineError


class CpuBackend:
    """The `cpu` target."""

    name: EngineName = "cpu"
    needs_gpu = False

    def has(self, bundle: Bundle, part: str) -> bool:
        return bool({WHOLE_WEIGHTS, HALF_WEIGHTS} & bundle.manifest.parts()[part].keys())

    def graph(self, bundle: Bundle, part: str) -> Graph:
        graphs = bundle.manifest.parts()[part]
        return graphs[_lowering(bundle, graphs)]

    def check(self, bundle: Bundle) -> None:
        self.graph(bundle, LANGUAGE)

    def note(self, bundle: Bundle) -> str | None:
        return saturation_note(bundle)

    def load_vision(self, bundle: Bundle, variant: str) -> CpuVision:
        return CpuVision(bundle, variant)

    def load_frames(self, bundle: Bundle, variant: str, most: int = 1) -> list[CpuFrames]:
        sizes = incremental_sizes(bundle, variant, _lowering(bundle, bundle.manifest.language.graphs), most)
        return [CpuFrames(bundle, variant, size) for size in sizes]

    def load_language(self, bundle: Bundle) -> CpuLanguage:
        (engine,) = self.load_slots(bundle, 1).engines
        return cast("CpuLanguage", engine)

    def load_slots(self, bundle: Bundle, most: int) -> LanguageSlots:
        return cpu_slots(bundle, _lowering(bundle, bundle.manifest.language.graphs), most)


def _lowering(bundle: Bundle, graphs: Graphs) -> str:
    """The lowering among these whose graph runs here.

    Raises `BundleError` if there is none, or if it needs a newer version than is installed.
    """
    name = WHOLE_WEIGHTS if WHOLE_WEIGHTS in graphs else HALF_WEIGHTS
    graph, rebuild = graphs.get(name), bundle.manifest.build_command
    if graph is None:
        raise BundleError(
            f"{bundle.folder} has no graphs for the CPU (it has {', '.join(graphs)}): compile it first, "
            f"{shlex.join(['stts-runtime', 'compile', str(bundle.folder), '--engine', 'tensorrt'])}, or build it with "
            f"`--target cpu` added to: {rebuild}"
        )
    if (graph.backend, graph.precision) != ("onnxruntime-cpu", "fp32"):
        raise BundleError(
            f"{graph.graph} was made for {graph.backend} in {graph.precision}, and the CPU runs onnxruntime-cpu in "
            f"fp32; rebuild it with: {rebuild}"
        )
    installed = cpu_runtime().__version__
    if major_minor(installed) < major_minor(graph.minimum_backend_version):
        raise BundleError(
            f"{graph.graph} needs onnxruntime {graph.minimum_backend_version} or newer, and {installed} is "
            f"installed: pip install -U onnxruntime (which needs Python 3.11 or newer)"
        )
    return name


class CpuVision:
    """One vision variant on the CPU."""

    def __init__(self, bundle: Bundle, variant: str) -> None:
        manifest = bundle.manifest
        record = manifest.variants[variant]
        self._budget = manifest.budget(record)
        size, kept = manifest.vision.image_size, self._budget.kept
        inputs: Signature = {"frames": (np.uint8, (self._budget.frames, size, size, 3))}
        outputs: Signature = {"visual_tokens": (np.float32, (kept, manifest.language.visual_width))}
        if record.is_pruned:
            outputs["scores"] = np.float32, (self._budget.frames, self._budget.groups)
            (inputs if record.is_control else outputs)["kept_groups"] = np.int64, (kept,)
        self.lowering = _lowering(bundle, record.graphs)
        self._session = cpu_session(bundle, record.graphs, self.lowering, inputs, outputs)

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        """RGB frames (T, H, W, 3) uint8 -> the window's visual tokens, in numpy."""
        inputs: dict[str, NDArray[Any]] = {"frames": frames}
        check_choice(given, self._budget)
        if given is not None:
            inputs["kept_groups"] = np.flatnonzero(given)
        with foreign_errors_as(EngineError, "vision"):
            outputs = self._session.run(None, inputs)
        shape = (self._budget.frames, self._budget.groups)
        if self._budget.keep == 1:
            return VisionOutput(outputs[0], np.ones(shape, dtype=np.bool_), None)
        if given is not None:
            return VisionOutput(outputs[0], given, outputs[1])
        tokens, scores, kept_groups = outputs
        kept = np.zeros(shape, dtype=np.bool_)
        kept.reshape(-1)[kept_groups] = True
        return VisionOutput(tokens, kept, scores)

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        tokens: NDArray[np.float32] = output.visual_tokens
        return tokens


class CpuFrames:
    """One variant for frames of streams, on the CPU: of one, or of several at once."""

    def __init__(self, bundle: Bundle, name: str, size: int = 1) -> None:
        manifest, live = bundle.manifest, bundle.manifest.live
        assert live is not None
        variant, side, groups = live.variants[name], manifest.vision.image_size, manifest.vision.groups
        kind = np.float16 if live.pooled_precision == "fp16" else np.float32
        kept, features = size * variant.kept_groups, (kind, (size * groups, live.pooled_width))
        inputs: Signature = {"frames": (np.uint8, (size, side, side, 3)), "previous": features}
        outputs: Signature = {
            "visual_tokens": (np.float32, (kept, manifest.language.visual_width)),
            "scores": (np.float32, (size * groups,)),
            "kept_groups": (np.int64, (kept,)),
            "pooled": features,
            "change": (np.float32, (size * groups,)),
        }
        graphs = variant.graphs_of(size)
        self.size = size
        self._session = cpu_session(bundle, graphs, _lowering(bundle, graphs), inputs, outputs)
        self._frames = np.empty((size, side, side, 3), dtype=np.uint8)
        self._previous = np.zeros((size, groups, live.pooled_width), dtype=kind)

    def run(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]:
        for row, look in enumerate(looks):
            check_frame(look.frame, self._frames.shape[1:])
            self._frames[row] = look.frame
            self._previous[row] = 0 if look.previous is None else look.previous
        inputs = {"frames": self._frames, "previous": self._previous.reshape(-1, self._previous.shape[-1])}
        with foreign_errors_as(EngineError, "vision"):
            outputs = self._session.run(FRAME_OUTPUTS, inputs)
        return outputs_of_frames(dict(zip(FRAME_OUTPUTS, outputs, strict=True)), self.size)
