"""The language model compiled by TensorRT, in either flavour: prefill and single tokens over one pair of caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import INDICES, indices_of
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray
from stts_runtime.engines.interfaces import check_room
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.prompt import Tokens

_ALIGNMENT = 256
"""Bytes; TensorRT wants addresses of tensors to be multiples of it."""


class TensorRtLanguage:
    """The language model on the GPU, its cache written in place where the graph can.

    Every engine takes `start`; what else follows from the number of tokens is an input of some (`INDICES`).
    """

    def __init__(self, loaded: LoadedEngine, image_patch_id: int, lowering: str, *, caches_in_place: bool) -> None:
        self._loaded, self._image_patch_id, self.lowering = loaded, image_patch_id, lowering
        self.length = 0
        caches = [name for name in loaded.names if f"new_{name}" in loaded.names]
        self.context = loaded.shape(caches[0])[-2]
        self._arrays = {name: loaded.array(name) for name in ("visual_tokens", "logits", "next_token")}
        of_a_call = [name for name in ("token_ids", "positions", *INDICES) if name in loaded.names]
        self._inputs = _Inputs(loaded, of_a_call, self.context)
        self._next = PinnedArray(loaded.stream.cuda, (1,), _whole_numbers(self._arrays["next_token"]))
        self._calls = self._calls_over(caches, caches_in_place)
        self._turn = 0

    def _calls_over(self, caches: list[str], in_place: bool) -> list[_Calls]:
        """One set of caches that is read and written, or two between which every call goes to and fro."""
        first = {name: self._loaded.array(name) for name in caches}
        second = first if in_place else {name: self._loaded.array(name) for name in caches}
        ways = [(first, first)] if in_place else [(first, second), (second, first)]
        return [_Calls(self._loaded, self._inputs, self._arrays, old, new) for old, new in ways]

    def show(self, visual_tokens: DeviceArray | NDArray[Any]) -> None:
        self._loaded.stream.put(self._arrays["visual_tokens"], visual_tokens)
        self._loaded.stream.synchronize()

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        values = indices_of(tokens.ids, self.length, self._image_patch_id)
        self._inputs.upload({**values, "token_ids": tokens.ids, "positions": tokens.positions}, len(tokens))
        self._calls[self._turn].run(len(tokens))
        self._loaded.stream.download_pinned(self._next, self._arrays["next_token"])
        self._loaded.stream.synchronize()
        self._turn = (self._turn + 1) % len(self._calls)
        self.length += len(tokens)
        # Prefills and single tokens have kernels of their own.
        self._loaded.keep_kernels("single token" if len(tokens) == 1 else "prefill")
        return int(self._next.values[0])

    def logits(self) -> NDArray[np.float32]:
        return self._loaded.stream.download(self._arrays["logits"]).astype(np.float32).reshape(-1)

    def rewind(self, length: int) -> None:
        self.length = length


class _Inputs:
    """The whole numbers of a call. Those of a single token lie in one block, so that they go up in one copy."""

    def __init__(self, loaded: LoadedEngine, names: list[str], longest: int) -> None:
        self._stream = stream = loaded.stream
        self.arrays = {name: loaded.array(name, longest) for name in names}
        """For calls of up to `longest` tokens."""
        kinds = {name: _whole_numbers(array) for name, array in self.arrays.items()}
        self._host = {name: PinnedArray(stream.cuda, array.shape, kinds[name]) for name, array in self.arrays.items()}
        of_one = (len(names), _ALIGNMENT)
        self._one = stream.zeros(of_one, 1, np.dtype(np.uint8))
        self._one_host = PinnedArray(stream.cuda, of_one, np.dtype(np.uint8))
        self._one_values = {name: row.view(kinds[name]) for name, row in zip(names, self._one_host.values, strict=True)}

    def of_one(self) -> dict[str, DeviceArray]:
        """The arrays of a single token, each at an address that TensorRT takes."""
        return {
            name: replace(array, address=self._one.address + place * _ALIGNMENT, shape=(1,), owner=self._one)
            for place, (name, array) in enumerate(self.arrays.items())
        }

    def upload(self, values: Mapping[str, NDArray[np.int64]], length: int) -> None:
        """Waits for nothing: every call ends with a download, so its numbers in pinned memory have been read."""
        if length == 1:
            for name, row in self._one_values.items():
                row[0] = values[name][0]
            self._stream.upload_pinned(self._one, self._one_host)
            return
        for name, host in self._host.items():
            count = len(values[name])
            host.values[:count] = values[name]
            self._stream.upload_pinned(self.arrays[name], host, end=count)


def _whole_numbers(array: DeviceArray) -> np.dtype[Any]:
    assert array.dtype is not None, "whole numbers have a type in numpy"
    return array.dtype


class _Calls:
    """The two kinds of calls over one pair of caches: of any length, and of a single token."""

    def __init__(
        self,
        loaded: LoadedEngine,
        inputs: _Inputs,
        arrays: dict[str, DeviceArray],
        old: dict[str, DeviceArray],
        new: dict[str, DeviceArray],
    ) -> None:
        shared = {**arrays, **old, **{f"new_{name}": array for name, array in new.items()}}
        self._any, one = loaded.context(), loaded.context()
        self._any.bind({**shared, **inputs.arrays})
        one.bind({**shared, **inputs.of_one()})
        one.set_length(1)
        self._one = one.repeated()

    def run(self, length: int) -> None:
        if length == 1:
            self._one()
            return
        self._any.set_length(length)
        self._any.enqueue()
