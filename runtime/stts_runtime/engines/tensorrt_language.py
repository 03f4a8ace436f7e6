"""The language model compiled by TensorRT, in either flavour: prefill and single tokens over one pair of caches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.bundle.contract import INDICES, indices_of
from stts_runtime.engines.cuda_memory import DeviceArray, PinnedArray
from stts_runtime.engines.interfaces import check_room
from stts_runtime.engines.tensorrt_context import LoadedEngine
from stts_runtime.prompt import Tokens


class TensorRtLanguage:
    """The language model on the GPU, its cache written in place where the graph can.

    Every engine takes `start`; what else follows from the number of tokens is an input of some (`INDICES`).
    """

    def __init__(self, loaded: LoadedEngine, image_patch_id: int, lowering: str, *, caches_in_place: bool) -> None:
        self._loaded, self._image_patch_id, self.lowering = loaded, image_patch_id, lowering
        self.length = 0
        caches = [name for name in loaded.names if f"new_{name}" in loaded.names]
        self.context = loaded.shape(caches[0])[-2]
        of_a_call = [name for name in ("token_ids", "positions", *INDICES) if name in loaded.names]
        others = ("visual_tokens", "logits", "next_token")
        self._arrays = {name: loaded.array(name, longest=self.context) for name in (*of_a_call, *others)}
        self._host = {name: self._pinned(self._arrays[name]) for name in of_a_call}
        self._calls = self._calls_over(caches, caches_in_place)
        self._turn = 0

    def _calls_over(self, caches: list[str], in_place: bool) -> list[_Calls]:
        """One set of caches that is read and written, or two between which every call goes to and fro."""
        first = {name: self._loaded.array(name) for name in caches}
        second = first if in_place else {name: self._loaded.array(name) for name in caches}
        ways = [(first, first)] if in_place else [(first, second), (second, first)]
        return [_Calls(self._loaded, self._arrays, old, new) for old, new in ways]

    def _pinned(self, array: DeviceArray) -> PinnedArray:
        assert array.dtype is not None, "whole numbers have a type in numpy"
        return PinnedArray(self._loaded.stream.cuda, array.shape, array.dtype)

    def show(self, visual_tokens: DeviceArray | NDArray[Any]) -> None:
        self._loaded.stream.put(self._arrays["visual_tokens"], visual_tokens)
        self._loaded.stream.synchronize()

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        self._upload(tokens)
        self._calls[self._turn].run(len(tokens))
        next_token = int(self._loaded.stream.download(self._arrays["next_token"])[0])
        self._turn = (self._turn + 1) % len(self._calls)
        self.length += len(tokens)
        # Prefills and single tokens have kernels of their own.
        self._loaded.keep_kernels("single token" if len(tokens) == 1 else "prefill")
        return next_token

    def _upload(self, tokens: Tokens) -> None:
        """Waits for nothing: the last call ended with a download, so its numbers in pinned memory have been read."""
        values = indices_of(tokens.ids, self.length, self._image_patch_id)
        values |= {"token_ids": tokens.ids, "positions": tokens.positions}
        for name, host in self._host.items():
            count = len(values[name])
            host.values[:count] = values[name]
            self._loaded.stream.upload_pinned(self._arrays[name], host, end=count)

    def logits(self) -> NDArray[np.float32]:
        return self._loaded.stream.download(self._arrays["logits"]).astype(np.float32).reshape(-1)

    def rewind(self, length: int) -> None:
        self.length = length


class _Calls:
    """The two kinds of calls over one pair of caches: of any length, and of a single token."""

    def __init__(
        self,
        loaded: LoadedEngine,
        arrays: dict[str, DeviceArray],
        old: dict[str, DeviceArray],
        new: dict[str, DeviceArray],
    ) -> None:
        bindings = {**arrays, **old, **{f"new_{name}": array for name, array in new.items()}}
        self._any, one = loaded.context(), loaded.context()
        for context in (self._any, one):
            context.bind(bindings)
        one.set_length(1)
        self._one = one.repeated()

    def run(self, length: int) -> None:
        if length == 1:
            self._one()
            return
        self._any.set_length(length)
        self._any.enqueue()
