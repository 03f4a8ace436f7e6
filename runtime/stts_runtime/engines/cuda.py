"""The `cuda` target: ONNX Runtime's CUDA provider, on the device throughout.

A window's way: frames go up from pinned memory, the vision graph runs, and only the numbers of the kept groups and
their scores come back, for the prompt. Visual tokens stay on the device, where the language engine copies them into its
own input. Vision and single tokens run as CUDA graphs; weights lie in device memory once, whatever number of variants
is loaded; caches are written in place.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA, FRAME_INPUTS, FRAME_OUTPUTS, EngineName
from stts_runtime.bundle.manifest import Graph, Graphs, major_minor
from stts_runtime.engines.agreement import Trial
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.engines.cuda_memory import PinnedArray
from stts_runtime.engines.cuda_session import CudaSession, cuda_runtime, shared_stream
from stts_runtime.engines.cuda_slots import cuda_slots
from stts_runtime.engines.cuda_weights import device_weights
from stts_runtime.engines.device_frames import DeviceFrames
from stts_runtime.engines.frames import incremental_sizes
from stts_runtime.engines.interfaces import VisionOutput, check_choice
from stts_runtime.engines.slots import LanguageSlots
from stts_runtime.errors import BundleError, EngineError

_FRAMES_AT_ONCE = 8
"""While some go up, the next are copied into pinned memory."""


class CudaBackend:
    """The `cuda` target."""

    name: EngineName = "cuda"
    needs_gpu = True

    def has(self, bundle: Bundle, part: str) -> bool:
        return CUDA in bundle.manifest.parts()[part]

    def graph(self, bundle: Bundle, part: str) -> Graph:
        return bundle.manifest.parts()[part][CUDA]

    def check(self, bundle: Bundle) -> None:
        _check(bundle, bundle.manifest.language.graphs)

    def note(self, bundle: Bundle) -> str | None:  # noqa: ARG002  # there is nothing to say
        return None

    def load_vision(self, bundle: Bundle, variant: str) -> CudaVision:
        record = bundle.manifest.variants[variant]
        return CudaVision(_session(bundle, _check(bundle, record.graphs)), bundle.manifest.budget(record))

    def load_frames(self, bundle: Bundle, variant: str, most: int = 1) -> list[DeviceFrames]:
        live = bundle.manifest.live
        assert live is not None
        sizes = incremental_sizes(bundle, variant, CUDA, most)
        graphs = [_check(bundle, live.variants[variant].graphs_of(size)) for size in sizes]
        return [frames_of(_session(bundle, graph)) for graph in graphs]

    def load_language(self, bundle: Bundle) -> CudaLanguage:
        (engine,) = self.load_slots(bundle, 1).engines
        return cast("CudaLanguage", engine)

    def load_slots(self, bundle: Bundle, most: int) -> LanguageSlots:
        model = bundle.manifest.language
        step, prefill = _check(bundle, model.graphs), model.prefill.get(CUDA)
        if prefill is None:
            raise BundleError(f"{bundle.folder} has no graph of the image prefix for the cuda engine; build it again")
        batches = {one.size: one.graphs for one in model.batches if one.size <= most and CUDA in one.graphs}
        rows = {size: partial(_session, bundle, _check(bundle, graphs)) for size, graphs in batches.items()}
        return cuda_slots(_session(bundle, prefill), _session(bundle, step), rows, partial(Trial.of, bundle))


def frames_of(session: CudaSession) -> DeviceFrames:
    """The engine of a graph for frames of streams."""
    arrays = {one: session.array(one) for one in (*FRAME_INPUTS, *FRAME_OUTPUTS)}
    call = session.call()
    call.bind(arrays)
    return DeviceFrames(session.stream, arrays, call.repeated())


def _check(bundle: Bundle, graphs: Graphs) -> Graph:
    """The graph among these for this engine, once everything that can be told without loading it has been checked."""
    graph = graphs.get(CUDA)
    if graph is None:
        raise BundleError(
            f"{bundle.folder} has no graphs for the cuda engine (it has {', '.join(graphs)}); build it with: "
            f"{bundle.manifest.rebuild_for(CUDA)}"
        )
    shared_stream()
    installed = cuda_runtime().__version__
    if major_minor(installed) < major_minor(graph.minimum_backend_version):
        raise BundleError(
            f"{graph.graph} needs onnxruntime-gpu {graph.minimum_backend_version} or newer, and {installed} is "
            "installed: pip install -U onnxruntime-gpu"
        )
    return graph


def _session(bundle: Bundle, graph: Graph) -> CudaSession:
    bundle.verify_all()
    stream = shared_stream()
    weights = device_weights(bundle.file(graph.weights), stream)
    return CudaSession(bundle.file(graph.graph), weights, stream)


class CudaVision:
    """One vision variant on the GPU."""

    lowering = CUDA

    def __init__(self, session: CudaSession, budget: TokenBudget) -> None:
        self._session, self._budget = session, budget
        self._stream = stream = session.stream
        self._arrays = {name: self._session.array(name) for name in (*self._session.inputs, *self._session.outputs)}
        call = self._session.call()
        call.bind(self._arrays)
        self.enqueue = call.repeated()
        """Runs the graph on what was uploaded last, without waiting; for benchmarks."""
        self._frames = PinnedArray(stream.cuda, self._arrays["frames"].shape, np.dtype(np.uint8))
        self._host = {
            name: PinnedArray(stream.cuda, array.shape, array.dtype)
            for name, array in self._arrays.items()
            if name in ("kept_groups", "scores") and array.dtype is not None
        }

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        """RGB frames (T, H, W, 3) uint8 -> the window's visual tokens, on the device until the next run."""
        check_choice(given, self._budget)
        if frames.shape != self._frames.values.shape:
            raise EngineError(f"frames are {frames.shape} and the engine takes {self._frames.values.shape}")
        for begin in range(0, len(frames), _FRAMES_AT_ONCE):
            end = min(begin + _FRAMES_AT_ONCE, len(frames))
            self._frames.values[begin:end] = frames[begin:end]
            self._stream.upload_pinned(self._arrays["frames"], self._frames, begin, end)
        if given is not None:
            self._host["kept_groups"].values[:] = np.flatnonzero(given)
            self._stream.upload_pinned(self._arrays["kept_groups"], self._host["kept_groups"])
        self.enqueue()
        for name in self._host.keys() & set(self._session.outputs):
            self._stream.download_pinned(self._host[name], self._arrays[name])
        # The prompt needs to know what was kept: the one wait of a window.
        self._stream.synchronize()
        return self._output()

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        return self._stream.download(output.visual_tokens).astype(np.float32)

    def _output(self) -> VisionOutput:
        visual = self._arrays["visual_tokens"]
        shape = self._budget.frames, self._budget.groups
        if self._budget.keep == 1:
            return VisionOutput(visual, np.ones(shape, dtype=np.bool_), None)
        kept = np.zeros(shape, dtype=np.bool_)
        kept.reshape(-1)[self._host["kept_groups"].values] = True
        return VisionOutput(visual, kept, self._host["scores"].values.copy())
