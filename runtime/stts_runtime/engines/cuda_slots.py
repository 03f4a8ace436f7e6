"""Slots of the `cuda` engine's language model: engines that share memory, and steps over several of them.

Kernels of our own are loaded once for all slots. They are taken if they answer the bundle's proof as ONNX Runtime does,
and if they give several sequences to the bit what they give each alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.engines.agreement import Trial, disagreement
from stts_runtime.engines.cuda_kernels import CudaKernels, StepChoice, choose_kernels
from stts_runtime.engines.cuda_language import CudaLanguage, SharedMemory, rows_of
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray, Stream
from stts_runtime.engines.cuda_session import CudaSession
from stts_runtime.engines.cuda_step import CudaStep, StepOutputs
from stts_runtime.engines.slots import LanguageSlots, Rows, RowStep
from stts_runtime.errors import SttsError
from stts_runtime.prompt import Tokens

_RUNS_TO_SETTLE = 3
"""Until graphs' steps are captured; what the kernels run is by the comparison."""
_TURNS_COMPARED = 2
"""Of several tokens beside each alone: the second sees what the first appended, and runs what was captured."""


def cuda_slots(
    prefix: CudaSession,
    behind: CudaSession,
    rows: Mapping[int, Callable[[], CudaSession]],
    trial: Callable[[], Trial] = Trial.made_up,
) -> LanguageSlots:
    """As many slots as the largest number in `rows`, which loads graphs of a token of each of so many; else one.

    `trial` gives what both ways of single tokens must agree on; it is called if there are two. Graphs are loaded for
    what the kernels do not run.
    """
    largest = max(rows, default=1)
    shared = SharedMemory.of(prefix, behind, largest)
    engines = [CudaLanguage(prefix, behind, shared, slot) for slot in range(largest)]
    choice = _agreed(engines[0], choose_kernels(behind.graph, behind.weights, behind.stream), trial)
    _use(engines, choice)
    steps: list[RowStep] = _kernel_rows(choice.kernels, shared, largest)
    if not _same_as_alone(engines, steps):
        choice, steps = choice.refused("tokens of several answers come out otherwise than each alone"), []
        _use(engines, choice)
    most = max((step.size for step in steps), default=1)
    graphs = [GraphRows(load(), shared) for size, load in rows.items() if size > most]
    if graphs:
        LanguageSlots(engines, graphs).settle(_RUNS_TO_SETTLE)
    return LanguageSlots(engines, [*steps, *graphs])


def _use(engines: Sequence[CudaLanguage], choice: StepChoice) -> None:
    for engine in engines:
        if engine.step_choice is not choice:
            engine.use(choice)


def _agreed(language: CudaLanguage, choice: StepChoice, trial: Callable[[], Trial]) -> StepChoice:
    """The choice, if both ways answer alike: they run the trial, which is then forgotten."""
    if choice.kernels is None:
        return choice
    try:
        reason = _difference(language, choice, choice.kernels.apart, trial())
    except SttsError as error:
        reason = str(error)
    finally:
        language.rewind(0)
    return choice if reason is None else choice.refused(reason)


def _difference(language: CudaLanguage, choice: StepChoice, bar: float, trial: Trial) -> str | None:
    if trial.window is not None:
        visual, prefix = trial.window
        language.show(visual)
        language.prefill(prefix)
    language.forward(trial.asked)
    asked = language.length

    def along_answer(way: StepChoice) -> list[NDArray[np.float32]]:
        language.use(way)
        language.rewind(asked)
        tokens = zip(trial.answer.ids, trial.answer.positions, strict=True)
        return [_logits_behind(language, int(token), int(position)) for token, position in tokens]

    return disagreement(along_answer(language.step_choice), along_answer(choice), bar)


def _logits_behind(language: CudaLanguage, token: int, position: int) -> NDArray[np.float32]:
    language.forward(Tokens(np.array([token]), np.array([position]), position + 1))
    return language.logits()


def _same_as_alone(engines: Sequence[CudaLanguage], steps: Sequence[RowStep]) -> bool:
    """Whether each step gives every slot to the bit what its engine gives; both run made-up tokens, forgotten then."""
    alone = []
    for slot, engine in enumerate(engines if steps else []):
        alone.append([_logits_behind(engine, slot + turn, turn) for turn in range(_TURNS_COMPARED)])
        engine.rewind(0)
    for step in steps:
        for turn in range(_TURNS_COMPARED):
            place = np.full(step.size, turn)
            step(Rows(np.arange(step.size) + turn, place, place))
            if any(not np.array_equal(step.logits(slot), alone[slot][turn]) for slot in range(step.size)):
                return False
    return True


class _Results:
    """What a step over B rows leaves on the device."""

    def __init__(self, stream: Stream, outputs: StepOutputs) -> None:
        self._stream, self._outputs = stream, outputs
        self.size = outputs.next_token.shape[0]
        self._next = PinnedArray(stream.cuda, (self.size,), np.dtype(np.int64))

    def next_tokens(self) -> NDArray[np.int64]:
        """Waits for the step."""
        self._stream.download_pinned(self._next, self._outputs.next_token)
        self._stream.synchronize()
        return self._next.values.copy()

    def logits(self, row: int) -> NDArray[np.float32]:
        logits = self._stream.download(rows_of(self._outputs.logits, row, row + 1))
        return logits.astype(np.float32).reshape(-1)


def _kernel_rows(kernels: CudaKernels | None, shared: SharedMemory, largest: int) -> list[RowStep]:
    """For every number of slots from two on that the kernels run."""
    if kernels is None:
        return []
    return [KernelRows(kernels, shared, size) for size in range(2, min(largest, kernels.most_sequences) + 1)]


class KernelRows:
    """A `RowStep` by kernels of our own."""

    def __init__(self, kernels: CudaKernels, shared: SharedMemory, size: int) -> None:
        stream, self.size = kernels.stream, size
        outputs = StepOutputs(
            stream.zeros((size, kernels.weights.head.rows), 4, np.dtype(np.float32)),
            stream.zeros((size,), 8, np.dtype(np.int64)),
        )
        self._results = _Results(stream, outputs)
        self._step = CudaStep(kernels, [shared.rows(slot, slot + 1) for slot in range(size)], outputs)

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        self._step(rows.token_ids, rows.positions, rows.slots)
        return self._results.next_tokens()

    def logits(self, row: int) -> NDArray[np.float32]:
        return self._results.logits(row)


class GraphRows:
    """A `RowStep` by ONNX Runtime: one token of each of the first slots, as a CUDA graph."""

    def __init__(self, session: CudaSession, shared: SharedMemory) -> None:
        self._stream = stream = session.stream
        outputs = {name: session.array(name) for name in ("logits", "next_token")}
        self._results = _Results(stream, StepOutputs(**outputs))
        self.size = self._results.size
        caches = shared.rows(0, self.size)
        # Two rows of 64-bit numbers and one of 32, which go up in one copy.
        halves = np.dtype(np.int32)
        self._host = PinnedArray(stream.cuda, (5 * self.size,), halves)
        self._device = stream.zeros(self._host.values.shape, halves.itemsize, halves)
        call = session.call()
        call.bind({**caches, **{f"new_{name}": array for name, array in caches.items()}, **outputs})
        whole = np.dtype(np.int64)
        call.bind({"token_ids": self._view(0, whole), "positions": self._view(2, whole), "last": self._view(4, halves)})
        self._run = call.repeated()

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        whole = self._host.values[: 4 * self.size].view(np.int64)
        whole[: self.size], whole[self.size :] = rows.token_ids, rows.positions
        self._host.values[4 * self.size :] = rows.slots
        self._stream.upload_pinned(self._device, self._host)
        self._run()
        return self._results.next_tokens()

    def logits(self, row: int) -> NDArray[np.float32]:
        return self._results.logits(row)

    def _view(self, place: int, dtype: np.dtype[Any]) -> DeviceArray:
        address = self._device.address + place * self.size * self._device.item_bytes
        return DeviceArray(address, (self.size,), dtype.itemsize, dtype, self._device)
