"""Single tokens through kernels of our own (`cuda_decode`), over caches that the `cuda` engine has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.cuda_decode.driver import UnfitDeviceError
from stts_runtime.cuda_decode.layer import Caches, Workspace, partial_floats
from stts_runtime.cuda_decode.step import CHOOSING_BLOCKS, Ends
from stts_runtime.engines.cuda_kernels import CudaKernels
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, RepeatedWork

_INT32, _FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
_ATTEMPTS = 1
Integers = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class StepOutputs:
    """Where results go, of B sequences: logits (B, vocabulary) float32 and next tokens (B,) int64."""

    logits: DeviceArray
    next_token: DeviceArray


class CudaStep:
    """One token of each of B sequences at a time; weights are read once for all of them."""

    def __init__(self, kernels: CudaKernels, caches: Sequence[Mapping[str, DeviceArray]], outputs: StepOutputs) -> None:
        """`caches` of each sequence, (1, KV, slots, D) by name. Raises `UnfitDeviceError` for too many of them."""
        self._kernels, self._stream = kernels, kernels.stream
        self._kept: list[Any] = [caches, outputs]
        self.sequences = len(caches)
        if self.sequences > kernels.most_sequences:
            raise UnfitDeviceError(
                f"{self.sequences} sequences are to share a step, and on this GPU at most {kernels.most_sequences} can"
            )
        self._slots = next(iter(caches[0].values())).shape[-2]
        self._numbers = self._zeros((3, self.sequences), _INT32)
        self._host = PinnedArray(self._stream.cuda, (3, self.sequences), _INT32)
        self._workspace, self._ends = self._workspaces(outputs)
        self._caches = [
            Caches.of([(one[f"key.{number}"].address, one[f"value.{number}"].address) for one in caches])
            for number in range(kernels.shape.layers)
        ]
        self._run = RepeatedWork(self._stream, self._enqueue, attempts=_ATTEMPTS)

    def __call__(self, tokens: Integers, positions: Integers, slots: Integers) -> None:
        """Appends each sequence's token to its slot; results are there once the stream was synchronised."""
        self._host.values[:] = tokens, positions, slots
        self._stream.upload_pinned(self._numbers, self._host)
        self._stream.cuda.make_current()
        self._run()

    def _enqueue(self) -> None:
        self._kernels.launches.enqueue(
            int(self._stream.handle),
            self.sequences,
            self._kernels.weights,
            self._caches,
            self._slots,
            self._workspace,
            self._ends,
        )

    def _workspaces(self, outputs: StepOutputs) -> tuple[Workspace, Ends]:
        shape, sixteen, count = self._kernels.shape, np.dtype(np.uint16), self.sequences
        splits = self._kernels.launches.layer.splits
        arrays = {
            "x": self._zeros((count, shape.width), _FLOAT32),
            "change": self._zeros((count, shape.width), _FLOAT32),
            "raw": self._zeros((count, shape.raw_channels), _FLOAT32),
            "attended": self._zeros((count, shape.channels), sixteen),
            "hidden": self._zeros((count, shape.mlp_width), sixteen),
            "partial": self._zeros((partial_floats(shape, splits, count),), _FLOAT32),
            "tickets": self._zeros((count, shape.kv_heads), _INT32),
        }
        best, tickets = self._zeros((count, CHOOSING_BLOCKS, 2), _FLOAT32), self._zeros((count,), _INT32)
        token, position, slot = (self._numbers.address + _INT32.itemsize * count * number for number in range(3))
        work = Workspace(**{name: array.address for name, array in arrays.items()}, positions=position, slots=slot)
        ends = Ends(token, outputs.logits.address, best.address, tickets.address, outputs.next_token.address)
        return work, ends

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        array = self._stream.zeros(shape, dtype.itemsize, dtype)
        self._kept.append(array)
        return array
