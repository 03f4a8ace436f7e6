"""The language model of the `cuda` target: a graph for the prefix, and one for what comes behind it.

Caches are written in place, and single tokens run as CUDA graphs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import CUDA
from stts_runtime.engines.cuda_kernels import ONNX_RUNTIME_ALONE, StepChoice
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream
from stts_runtime.engines.cuda_session import CudaSession
from stts_runtime.engines.cuda_step import CudaStep, StepOutputs
from stts_runtime.engines.interfaces import check_room
from stts_runtime.errors import EngineError
from stts_runtime.prompt import Tokens

_PREFILL_STEP = 64
"""Prefixes are padded to a multiple, since the attention kernel is planned anew for every length."""


class CudaLanguage:
    """The language model on the GPU: a graph for the prefix, and one for what comes behind it."""

    lowering = CUDA

    def __init__(
        self,
        prefix: CudaSession,
        behind: CudaSession,
        shared: SharedMemory,
        slot: int,
    ) -> None:
        """`shared` is what all slots share, of which this is the one of that number. ONNX Runtime runs single tokens
        until `use` says otherwise.
        """
        self._stream = stream = behind.stream
        self.length = 0
        self._caches = caches = shared.rows(slot, slot + 1)
        self.context = next(iter(caches.values())).shape[-2]
        self._visual = shared.visual
        self._logits: Callable[[], NDArray[np.float32]] | None = None
        self._outputs = {name: behind.array(name) for name in ("logits", "next_token")}
        self._inputs = _Inputs(stream, self.context)
        self._next = PinnedArray(stream.cuda, (1,), np.dtype(np.int64))
        in_place = {**caches, **{f"new_{name}": array for name, array in caches.items()}}
        self._prefix, self._any, one = prefix.call(), behind.call(), behind.call()
        self._prefix.bind({**in_place, "visual_tokens": self._visual})
        for call in (self._any, one):
            call.bind({**in_place, **self._outputs})
        one.bind(self._inputs.tokens(1))
        self._one = one.repeated()
        self._step: CudaStep | None = None
        self.step_choice = ONNX_RUNTIME_ALONE
        """What runs single tokens, and why."""

    def use(self, choice: StepChoice) -> None:
        """Runs single tokens so from now on."""
        outputs = StepOutputs(self._outputs["logits"], self._outputs["next_token"])
        self._step = None if choice.kernels is None else CudaStep(choice.kernels, [self._caches], outputs)
        self.step_choice = choice

    @property
    def note(self) -> str | None:
        return self.step_choice.note

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
        self._logits = None
        if len(tokens) == 1 and self._step is not None:
            self._step([int(tokens.ids[0])], [int(tokens.positions[0])], [self.length])
        else:
            self._enqueue(tokens)
        self._stream.download_pinned(self._next, self._outputs["next_token"])
        self._stream.synchronize()
        self.length += len(tokens)
        return int(self._next.values[0])

    def _enqueue(self, tokens: Tokens) -> None:
        self._inputs.set(tokens, self.length, len(tokens))
        if len(tokens) == 1:
            self._one()
        else:
            self._any.bind(self._inputs.tokens(len(tokens)))
            self._any.enqueue()

    def stepped(self, logits: Callable[[], NDArray[np.float32]]) -> None:
        self._logits = logits
        self.length += 1

    def logits(self) -> NDArray[np.float32]:
        if self._logits is not None:
            return self._logits()
        return self._stream.download(self._outputs["logits"]).astype(np.float32).reshape(-1)

    def rewind(self, length: int) -> None:
        self.length = length


@dataclass(frozen=True)
class SharedMemory:
    """What the slots of a language model have in common."""

    caches: dict[str, DeviceArray]
    """(slots, kv heads, context, head width) by name; a slot is a row."""
    visual: DeviceArray
    """Who shows is who fills next."""

    @classmethod
    def of(cls, prefix: CudaSession, behind: CudaSession, slots: int) -> SharedMemory:
        caches = {}
        for name in behind.inputs:
            if f"new_{name}" in behind.outputs:
                (_, *shape), (item_bytes, dtype) = behind.signature[name]
                caches[name] = behind.stream.zeros((slots, *shape), item_bytes, dtype)
        return cls(caches, prefix.array("visual_tokens"))

    def rows(self, begin: int, end: int) -> dict[str, DeviceArray]:
        """The caches of these slots."""
        return {name: rows_of(cache, begin, end) for name, cache in self.caches.items()}


def rows_of(array: DeviceArray, begin: int, end: int) -> DeviceArray:
    """Rows of an array, in its memory."""
    row_bytes = array.size_bytes // array.shape[0]
    view = array.view()
    return dataclasses.replace(view, address=array.address + begin * row_bytes, shape=(end - begin, *array.shape[1:]))


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
