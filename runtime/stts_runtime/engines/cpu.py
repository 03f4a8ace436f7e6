"""The `cpu` target: ONNX Runtime's CPU provider. The cache is written in place through I/O binding."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FRAME_OUTPUTS, HALF_WEIGHTS, LANGUAGE, WHOLE_WEIGHTS, EngineName, cache_names
from stts_runtime.bundle.manifest import Graph, Graphs, major_minor
from stts_runtime.engines.interfaces import IncrementalOutput, VisionOutput, check_choice, check_room
from stts_runtime.engines.onnxruntime_session import (
    Signature,
    cpu_runtime,
    cpu_session,
    foreign_errors_as,
)
from stts_runtime.engines.saturation import saturation_note
from stts_runtime.errors import BundleError, EngineError
from stts_runtime.prompt import Tokens


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

    def load_frame(self, bundle: Bundle, variant: str) -> CpuFrame:
        return CpuFrame(bundle, variant)

    def load_language(self, bundle: Bundle) -> CpuLanguage:
        return CpuLanguage(bundle)


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


class CpuFrame:
    """One variant for frames of streams, on the CPU."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        manifest, live = bundle.manifest, bundle.manifest.live
        assert live is not None
        variant, size, groups = live.variants[name], manifest.vision.image_size, manifest.vision.groups
        kind = np.float16 if live.pooled_precision == "fp16" else np.float32
        features = kind, (groups, live.pooled_width)
        inputs: Signature = {"frames": (np.uint8, (1, size, size, 3)), "previous": features}
        outputs: Signature = {
            "visual_tokens": (np.float32, (variant.kept_groups, manifest.language.visual_width)),
            "scores": (np.float32, (groups,)),
            "kept_groups": (np.int64, (variant.kept_groups,)),
            "pooled": features,
            "change": (np.float32, (groups,)),
        }
        self._session = cpu_session(bundle, variant.graphs, _lowering(bundle, variant.graphs), inputs, outputs)
        self._previous = np.zeros((groups, live.pooled_width), dtype=kind)

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None) -> IncrementalOutput:
        self._previous[:] = 0 if previous is None else previous
        inputs = {"frames": frame[None], "previous": self._previous}
        with foreign_errors_as(EngineError, "vision"):
            tokens, scores, kept_groups, pooled, change = self._session.run(FRAME_OUTPUTS, inputs)
        kept = np.zeros(len(scores), dtype=np.bool_)
        kept[kept_groups] = True
        return IncrementalOutput(tokens, kept, scores, change, pooled)


class CpuLanguage:
    """The language model on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        model = bundle.manifest.language
        self._visual = np.zeros((model.visual_rows, model.visual_width), dtype=np.float32)
        self.context, self.length = model.context, 0
        self._logits: Any = None
        caches: Signature = dict.fromkeys(
            cache_names(model.layers), (np.float32, (1, model.context, model.kv_channels))
        )
        inputs: Signature = {
            "token_ids": (np.int64, (None,)),
            "positions": (np.int64, (None,)),
            "start": (np.int64, (1,)),
            "visual_tokens": (np.float32, self._visual.shape),
            **caches,
        }
        outputs: Signature = {
            **{f"new_{name}": signature for name, signature in caches.items()},
            "logits": (np.float32, (1, model.vocabulary)),
            "next_token": (np.int64, (1,)),
        }
        self.lowering = _lowering(bundle, model.graphs)
        self._session = cpu_session(bundle, model.graphs, self.lowering, inputs, outputs)
        self._binding = self._session.io_binding()
        # Kept here for as long as the engine lives: the binding of some versions holds no reference of its own.
        self._caches = [self._bound_cache(name, shape) for name, (_, shape) in caches.items()]

    def _bound_cache(self, name: str, shape: tuple[int | None, ...]) -> Any:
        """Past and present share one buffer, so that TensorScatter writes into it instead of copying it."""
        # An OrtValue on the CPU is a view of the array that it is made from: each needs one of its own.
        array = np.zeros([size or 0 for size in shape], dtype=np.float32)
        cache = cpu_runtime().OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(name, cache)
        self._binding.bind_ortvalue_output(f"new_{name}", cache)
        return cache

    def show(self, visual_tokens: NDArray[np.float32]) -> None:
        self._visual[: len(visual_tokens)] = visual_tokens

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        start = np.array([self.length], dtype=np.int64)
        with foreign_errors_as(EngineError, "language model"):
            self._binding.bind_cpu_input("token_ids", tokens.ids)
            self._binding.bind_cpu_input("positions", tokens.positions)
            self._binding.bind_cpu_input("start", start)
            self._binding.bind_cpu_input("visual_tokens", self._visual)
            self._binding.bind_output("logits")
            self._binding.bind_output("next_token")
            self._session.run_with_iobinding(self._binding)
            *_, self._logits, next_token = self._binding.get_outputs()
        self.length += len(tokens)
        return int(next_token.numpy()[0])

    def logits(self) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits.numpy()[0]
        return logits

    def rewind(self, length: int) -> None:
        self.length = length
