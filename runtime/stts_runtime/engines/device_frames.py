"""Frames of streams on a GPU: the `cuda` target and TensorRT. Everything comes back to the host.

A frame's visual tokens and features are a few hundred kilobytes, and lie in the host's memory until a window is made of
them; in exchange streams come and go without holding any of the device's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stts_runtime.bundle.contract import FRAME_INPUTS, FRAME_OUTPUTS
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream
from stts_runtime.engines.frames import FrameInput, IncrementalOutput, check_frame, outputs_of_frames


class DeviceFrames:
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
        self.size = len(self._host["frames"].values)

    def run(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]:
        host, stream = self._host, self._stream
        frames = host["frames"].values
        previous = host["previous"].values.reshape(self.size, -1, host["previous"].values.shape[-1])
        for row, look in enumerate(looks):
            check_frame(look.frame, frames.shape[1:])
            frames[row] = look.frame
            previous[row] = 0 if look.previous is None else look.previous
        for name in FRAME_INPUTS:
            stream.upload_pinned(self._arrays[name], host[name])
        self._enqueue()
        for name in FRAME_OUTPUTS:
            stream.download_pinned(host[name], self._arrays[name])
        stream.synchronize()
        self._after()
        # Copies: the next run overwrites what lies here.
        return outputs_of_frames({name: host[name].values.copy() for name in FRAME_OUTPUTS}, self.size)
