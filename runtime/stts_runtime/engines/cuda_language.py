"""The language model of the `cuda` target: a graph for the prefix, and one for what comes behind it.

Caches are written in place, and single tokens run as CUDA graphs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import CUDA
from stts_runtime.engines.agreement import Trial, disagreement
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream
from stts_runtime.engines.cuda_session import CudaSession
from stts_runtime.engines.cuda_step import CudaStep, StepChoice, StepOutputs, choose_step
from stts_runtime.engines.interfaces import check_room
from stts_runtime.errors import EngineError, SttsError
from stts_runtime.prompt import Tokens

_PREFILL_STEP = 64
"""Prefixes are padded to a multiple, since the attention kernel is planned anew for every length."""


class CudaLanguage:
    """The language model on the GPU: a graph for the prefix, and one for what comes behind it."""

    lowering = CUDA

    def __init__(self, prefix: CudaSession, behind: CudaSession, trial: Callable[[], Trial] = Trial.made_up) -> None:
        """`trial` gives what both ways of single tokens must agree on; it is called if there are two."""
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
        self._one = one.repeated()
        outputs = StepOutputs(self._outputs["logits"], self._outputs["next_token"])
        self._step: CudaStep | None = None
        self.step_choice = self._agreed(choose_step(behind.graph, behind.weights, [caches], outputs, stream), trial)
        """What runs single tokens, and why."""
        self._step = self.step_choice.step

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

    def _agreed(self, choice: StepChoice, trial: Callable[[], Trial]) -> StepChoice:
        """The choice, if both ways answer alike: they run the trial, which is then forgotten."""
        if choice.step is None:
            return choice
        try:
            reason = self._difference(choice.step, trial())
        except SttsError as error:
            reason = str(error)
        finally:
            self._step = None
            self.rewind(0)
        return choice if reason is None else choice.refused(reason)

    def _difference(self, step: CudaStep, trial: Trial) -> str | None:
        if trial.window is not None:
            visual, prefix = trial.window
            self.show(visual)
            self.prefill(prefix)
        self.forward(trial.asked)
        asked = self.length

        def along_answer(way: CudaStep | None) -> list[NDArray[np.float32]]:
            self._step = way
            self.rewind(asked)
            return [self._logits_behind(trial.answer, number) for number in range(len(trial.answer))]

        return disagreement(along_answer(None), along_answer(step), step.apart)

    def _logits_behind(self, tokens: Tokens, number: int) -> NDArray[np.float32]:
        position = int(tokens.positions[number])
        self.forward(Tokens(tokens.ids[number : number + 1], np.array([position]), position + 1))
        return self.logits()

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
