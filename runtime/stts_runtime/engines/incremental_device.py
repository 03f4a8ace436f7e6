"""Frames of streams on a GPU: the `cuda` target and TensorRT. Everything comes back to the host.

A frame's visual tokens and features are a few hundred kilobytes, and lie in the host's memory until a window is made of
them; in exchange streams come and go without holding any of the device's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import VISION
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, RepeatedWork, Stream
from stts_runtime.engines.cuda_session import CudaSession
from stts_runtime.engines.interfaces import IncrementalOutput
from stts_runtime.engines.onnxruntime_cuda import ATTEMPTS, RUNS_BEFORE_CAPTURE, check_cuda, cuda_session
from stts_runtime.engines.tensorrt import load_engine
from stts_runtime.errors import EngineError
from stts_runtime.passports import EngineStore
from stts_runtime.tensorrt import FlavourName

INPUTS = ["frames", "previous"]
OUTPUTS = ["visual_tokens", "scores", "kept_groups", "pooled", "change"]


class DeviceFrameGraph:
    """A graph for one frame: its arrays on the device, the same in pinned memory, and a way to run it."""

    def __init__(
        self,
        stream: Stream,
        arrays: Mapping[str, DeviceArray],
        enqueue: Callable[[], None],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream, self._arrays, self._enqueue, self._after = stream, arrays, enqueue, after
        self._host = {
            # numpy has no bfloat16; its bytes will do.
            name: PinnedArray(stream.cuda, array.shape, array.dtype or np.dtype(np.uint16))
            for name, array in arrays.items()
        }

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.float32] | None) -> IncrementalOutput:
        host, stream = self._host, self._stream
        if frame[None].shape != host["frames"].values.shape:
            raise EngineError(f"a frame is {frame.shape} and the engine takes {host['frames'].values.shape[1:]}")
        host["frames"].values[0] = frame
        host["previous"].values[:] = 0 if previous is None else previous
        for name in INPUTS:
            stream.upload_pinned(self._arrays[name], host[name])
        self._enqueue()
        for name in OUTPUTS:
            stream.download_pinned(host[name], self._arrays[name])
        stream.synchronize()
        self._after()
        return self._output()

    def _output(self) -> IncrementalOutput:
        values = {name: self._host[name].values.copy() for name in OUTPUTS}
        kept = np.zeros(len(values["scores"]), dtype=np.bool_)
        kept[values["kept_groups"]] = True
        return IncrementalOutput(values["visual_tokens"], kept, values["scores"], values["change"], values["pooled"])


class DeviceIncremental:
    """Key frames, and those between at one keep ratio. With keep 1 every frame is whole, key frame or not."""

    def __init__(self, keep: float, names: Mapping[bool, str], load: Callable[[str], DeviceFrameGraph]) -> None:
        self.keep = keep
        graphs = {name: load(name) for name in set(names.values())}
        self._graphs = {key: graphs[name] for key, name in names.items()}

    @classmethod
    def on_cuda(cls, bundle: Bundle, keep: float) -> DeviceIncremental:
        return cls(keep, bundle.choose_incremental(keep), lambda name: _on_cuda(bundle, name))

    @classmethod
    def on_tensorrt(cls, bundle: Bundle, keep: float, flavour: FlavourName) -> DeviceIncremental:
        return cls(keep, bundle.choose_incremental(keep), lambda name: _on_tensorrt(bundle, name, flavour))

    @classmethod
    def alone(
        cls, bundle: Bundle, name: str, flavour: FlavourName, store: EngineStore | None = None
    ) -> DeviceIncremental:
        """One of the two engines for every frame, key frame or not; for checks."""
        keep = bundle.manifest.live.variants[name].keep if bundle.manifest.live else 1.0
        return cls(keep, dict.fromkeys((True, False), name), lambda name: _on_tensorrt(bundle, name, flavour, store))

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.float32] | None, *, key: bool) -> IncrementalOutput:
        return self._graphs[key].run(frame, previous)


def _on_cuda(bundle: Bundle, name: str) -> DeviceFrameGraph:
    graphs: Any = bundle.manifest.parts()[f"{VISION}.{name}"]
    session: CudaSession = cuda_session(bundle, check_cuda(bundle, graphs))
    arrays = {one: session.array(one) for one in (*INPUTS, *OUTPUTS)}
    call = session.call()
    call.bind(arrays)
    work = RepeatedWork(session.stream, call.enqueue, RUNS_BEFORE_CAPTURE, ATTEMPTS)
    return DeviceFrameGraph(session.stream, arrays, work)


def _on_tensorrt(bundle: Bundle, name: str, flavour: FlavourName, store: EngineStore | None = None) -> DeviceFrameGraph:
    loaded, _ = load_engine(bundle, f"{VISION}.{name}", flavour, [*INPUTS, *OUTPUTS], store=store)
    arrays = {one: loaded.array(one) for one in (*INPUTS, *OUTPUTS)}
    context = loaded.context()
    context.bind(arrays)
    return DeviceFrameGraph(loaded.stream, arrays, context.repeated(), loaded.keep_kernels)
