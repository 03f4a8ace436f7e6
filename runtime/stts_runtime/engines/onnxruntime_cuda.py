"""The `cuda` target: ONNX Runtime's CUDA provider, on the device throughout.

A window's way: frames go up from pinned memory, the vision graph runs, and only the numbers of the kept groups and
their scores come back, for the prompt. Visual tokens stay on the device, where the language engine copies them into its
own input. Vision and single tokens run as CUDA graphs; weights lie in device memory once, whatever number of variants
is loaded; caches are written in place.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Graph, Graphs, major_minor
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, RepeatedWork, Stream
from stts_runtime.engines.cuda_session import CudaSession, cuda_runtime, shared_stream
from stts_runtime.engines.cuda_weights import device_weights
from stts_runtime.engines.interfaces import VisionOutput, check_choice, check_room
from stts_runtime.errors import BundleError, EngineError
from stts_runtime.prompt import Tokens

LOWERING = "cuda"

# ONNX Runtime allocates in its first runs, and may do so once more, which a capture forbids.
RUNS_BEFORE_CAPTURE, ATTEMPTS = 2, 3

_FRAMES_AT_ONCE = 8
"""While some go up, the next are copied into pinned memory."""

_PREFILL_STEP = 64
"""Prefixes are padded to a multiple, since the attention kernel is planned anew for every length."""


def check_cuda(bundle: Bundle, graphs: Graphs) -> Graph:
    """The graph among these for this engine, once everything that can be told without loading it has been checked."""
    graph = graphs.get(LOWERING)
    if graph is None:
        raise BundleError(
            f"{bundle.folder} has no graphs for the cuda engine (it has {', '.join(graphs)}); build it with: "
            f"{bundle.manifest.rebuild_for(LOWERING)}"
        )
    shared_stream()
    installed = cuda_runtime().__version__
    if major_minor(installed) < major_minor(graph.minimum_backend_version):
        raise BundleError(
            f"{graph.graph} needs onnxruntime-gpu {graph.minimum_backend_version} or newer, and {installed} is "
            "installed: pip install -U onnxruntime-gpu"
        )
    return graph


def cuda_session(bundle: Bundle, graph: Graph) -> CudaSession:
    bundle.verify_all()
    stream = shared_stream()
    weights = device_weights(bundle.file(graph.weights), stream)
    return CudaSession(bundle.file(graph.graph), weights, stream)


class CudaVision:
    """One vision variant on the GPU."""

    lowering = LOWERING

    def __init__(self, session: CudaSession, budget: TokenBudget) -> None:
        self._session, self._budget = session, budget
        self._stream = stream = session.stream
        self._arrays = {name: self._session.array(name) for name in (*self._session.inputs, *self._session.outputs)}
        call = self._session.call()
        call.bind(self._arrays)
        self.enqueue = RepeatedWork(stream, call.enqueue, RUNS_BEFORE_CAPTURE, ATTEMPTS)
        """Runs the graph on what was uploaded last, without waiting; for benchmarks."""
        self._frames = PinnedArray(stream.cuda, self._arrays["frames"].shape, np.dtype(np.uint8))
        self._host = {
            name: PinnedArray(stream.cuda, array.shape, array.dtype)
            for name, array in self._arrays.items()
            if name in ("kept_groups", "scores") and array.dtype is not None
        }

    @classmethod
    def open(cls, bundle: Bundle, variant: str) -> CudaVision:
        """Loads a variant of a bundle."""
        record = bundle.manifest.variants[variant]
        return cls(cuda_session(bundle, check_cuda(bundle, record.graphs)), bundle.manifest.budget(record))

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


class CudaLanguage:
    """The language model on the GPU: a graph for the prefix, and one for what comes behind it."""

    lowering = LOWERING

    def __init__(self, prefix: CudaSession, behind: CudaSession) -> None:
        self._stream = stream = behind.stream
        self.length = 0
        caches = {name: behind.array(name) for name in behind.inputs if f"new_{name}" in behind.outputs}
        self.context = next(iter(caches.values())).shape[-2]
        self._visual = prefix.array("visual_tokens")
        self._outputs = {name: behind.array(name) for name in ("logits", "next_token")}
        self._inputs = _Inputs(stream, self.context)
        self._next = PinnedArray(stream.cuda, (1,), np.dtype(np.int64))
        in_place = {**caches, **{f"new_{name}": array for name, array in caches.items()}}
        self._prefix, self._any, one = prefix.call(), behind.call(), behind.call()
        self._prefix.bind({**in_place, "visual_tokens": self._visual})
        for call in (self._any, one):
            call.bind({**in_place, **self._outputs})
        one.bind(self._inputs.tokens(1))
        self._one = RepeatedWork(stream, one.enqueue, RUNS_BEFORE_CAPTURE, ATTEMPTS)

    @classmethod
    def open(cls, bundle: Bundle) -> CudaLanguage:
        """Loads the language model of a bundle, with an empty cache."""
        model = bundle.manifest.language
        step, prefill = check_cuda(bundle, model.graphs), model.prefill.get(LOWERING)
        if prefill is None:
            raise BundleError(f"{bundle.folder} has no graph of the image prefix for the cuda engine; build it again")
        return cls(cuda_session(bundle, prefill), cuda_session(bundle, step))

    def show(self, visual_tokens: DeviceArray | NDArray[Any]) -> None:
        self._stream.put(self._visual, visual_tokens)

    def prefill(self, tokens: Tokens) -> None:
        if self.length:
            raise EngineError("a prefix fills the cache from its beginning on")
        check_room(self, tokens)
        length = min(-(-len(tokens) // _PREFILL_STEP) * _PREFILL_STEP, self.context)
        self._inputs.set(tokens, 0, length)
        self._prefix.bind(self._inputs.prefix(length))
        self._prefix.enqueue()
        # What was padded is overwritten by what comes next.
        self.length = len(tokens)
        self._stream.synchronize()

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        self._inputs.set(tokens, self.length, len(tokens))
        if len(tokens) == 1:
            self._one()
        else:
            self._any.bind(self._inputs.tokens(len(tokens)))
            self._any.enqueue()
        self._stream.download_pinned(self._next, self._outputs["next_token"])
        self._stream.synchronize()
        self.length += len(tokens)
        return int(self._next.values[0])

    def logits(self) -> NDArray[np.float32]:
        return self._stream.download(self._outputs["logits"]).astype(np.float32).reshape(-1)

    def rewind(self, length: int) -> None:
        self.length = length


class _Inputs:
    """Token numbers, positions and slots of a call: rows of one array, so that they go up in one copy."""

    _ROWS = ("token_ids", "positions", "slots")

    def __init__(self, stream: Stream, context: int) -> None:
        self._stream = stream
        kind = np.dtype(np.int64)
        # Behind the rows, the last slot.
        self._host = PinnedArray(stream.cuda, (len(self._ROWS) * context + 1,), kind)
        self._device = stream.zeros(self._host.values.shape, kind.itemsize, kind)

    def set(self, tokens: Tokens, start: int, length: int) -> None:
        """Uploads a call's inputs, padded to `length`; nobody sees the padding."""
        values = np.zeros((len(self._ROWS), length), dtype=np.int64)
        values[0, : len(tokens)], values[1, : len(tokens)] = tokens.ids, tokens.positions
        values[2] = np.arange(start, start + length)
        count = values.size
        self._host.values[0] = start + length - 1
        self._host.values[1 : 1 + count] = values.reshape(-1)
        self._stream.upload_pinned(dataclasses.replace(self._device, shape=(1 + count,)), self._host)

    def prefix(self, length: int) -> dict[str, DeviceArray]:
        """The inputs of the prefill graph for `length` tokens."""
        return {name: self._view(1 + row * length, length) for row, name in enumerate(self._ROWS)}

    def tokens(self, length: int) -> dict[str, DeviceArray]:
        """The inputs of the other graph."""
        rows = self.prefix(length)
        del rows["slots"]
        # Little-endian: the lower half of the first number is the number, in 32 bits.
        last = dataclasses.replace(self._view(0, 1), item_bytes=4, dtype=np.dtype(np.int32))
        return {**rows, "last": last}

    def _view(self, offset: int, length: int) -> DeviceArray:
        address = self._device.address + offset * self._device.item_bytes
        return dataclasses.replace(self._device, address=address, shape=(length,), owner=self._device)
