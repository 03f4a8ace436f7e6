"""Frames of streams on a GPU: the `cuda` target and TensorRT. Everything comes back to the host.

A frame's visual tokens and features are a few hundred kilobytes, and lie in the host's memory until a window is made of
them; in exchange streams come and go without holding any of the device's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import FRAME_INPUTS, FRAME_OUTPUTS
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream
from stts_runtime.engines.interfaces import IncrementalOutput
from stts_runtime.errors import EngineError


class DeviceFrame:
    """One variant for frames of streams: its arrays on the device, the same in pinned memory, and a way to run it."""

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

    def run(self, frame: NDArray[np.uint8], previous: NDArray[np.floating] | None) -> IncrementalOutput:
        host, stream = self._host, self._stream
        if frame[None].shape != host["frames"].values.shape:
            raise EngineError(f"a frame is {frame.shape} and the engine takes {host['frames'].values.shape[1:]}")
        host["frames"].values[0] = frame
        host["previous"].values[:] = 0 if previous is None else previous
        for name in FRAME_INPUTS:
            stream.upload_pinned(self._arrays[name], host[name])
        self._enqueue()
        for name in FRAME_OUTPUTS:
            stream.download_pinned(host[name], self._arrays[name])
        stream.synchronize()
        self._after()
        return self._output()

    def _output(self) -> IncrementalOutput:
        values = {name: self._host[name].values.copy() for name in FRAME_OUTPUTS}
        kept = np.zeros(len(values["scores"]), dtype=np.bool_)
        kept[values["kept_groups"]] = True
        return IncrementalOutput(values["visual_tokens"], kept, values["scores"], values["change"], values["pooled"])
