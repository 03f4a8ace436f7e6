"""The same modules in torch, on the same weights: what a user would run instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_runtime.prompt import Tokens


class TorchSide:
    """Runs without gradients; its caches are as long as what it is asked."""

    def __init__(self, vision: Vision, language: Language) -> None:
        self._vision, self._language = vision, language

    @torch.no_grad()
    def see(self, frames: Tensor, budget: TokenBudget) -> object:
        """Frames (T, H, W, 3) uint8 on the GPU."""
        return self._vision(frames, budget)

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """Inside the block every block of the tower is compiled, which compiles once for all of a shape."""
        layers = self._vision.vision_tower.layers
        for layer in layers:
            layer.compile(dynamic=False)
        try:
            yield
        finally:
            for layer in layers:
                layer._compiled_call_impl = None  # noqa: SLF001 (torch has no way back)
            torch.compiler.reset()

    def prefill(self, tokens: Tokens) -> Callable[[], object]:
        """The prefix, into caches of its length."""
        ids, positions = (torch.from_numpy(x).cuda() for x in (tokens.ids, tokens.positions))
        slots, caches = torch.arange(len(tokens), device="cuda"), self._caches(len(tokens))
        visual = caches[0].new_zeros((len(tokens), self._language.config.width))

        @torch.no_grad()
        def run() -> object:
            return self._language.prefill(ids, positions, slots, visual, caches)

        return run

    def step(self, length: int) -> Callable[[], object]:
        """One token behind `length` others."""
        token, place = (torch.tensor([number], device="cuda") for number in (1, length))
        last, caches = torch.tensor([length], dtype=torch.int32, device="cuda"), self._caches(length + 1)
        tables = self._language.rotary_tables(length + 1)

        @torch.no_grad()
        def run() -> object:
            return self._language.step(token, place, last, caches, tables)

        return run

    def _caches(self, slots: int) -> list[Tensor]:
        return self._language.empty_caches(slots, by_head=True)
