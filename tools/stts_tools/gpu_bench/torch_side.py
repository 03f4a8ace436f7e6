"""The same modules in torch, on the same weights: what a user would run instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stts_export.modules.language import Language, LanguageOutput
from stts_export.modules.rotary import Rotary
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_runtime.prompt import Tokens
from stts_tools.gpu_bench.settings import question


class TorchSide:
    """Runs without gradients; its caches are as long as what it is asked."""

    def __init__(self, vision: Vision, language: Language) -> None:
        self._vision, self._language = vision, language

    @torch.no_grad()
    def see(self, frames: Tensor, budget: TokenBudget) -> object:
        """Frames (T, H, W, 3) uint8 on the GPU."""
        return self._vision(frames, budget)

    @contextmanager
    def compiled_blocks(self) -> Iterator[None]:
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

    def prefill(self, tokens: Tokens, *, compiled: bool = False) -> Callable[[], object]:
        """The prefix, into caches of its length; all layers in one if compiled."""
        inputs, caches = self._prefix(tokens), self._caches(len(tokens))
        visual = caches[0].new_zeros((len(tokens), self._language.config.width))
        prefill = torch.compile(self._language.prefill, dynamic=False) if compiled else self._language.prefill

        @torch.no_grad()
        def run() -> object:
            return prefill(*inputs, visual, caches)

        return run

    def step(self, length: int) -> Callable[[], object]:
        """One token after `length` others."""
        token, caches, tables = torch.tensor([1], device="cuda"), *self._behind(length + 1)

        @torch.no_grad()
        def run() -> object:
            return self._step(token, length, caches, tables)

        return run

    def answer(
        self, frames: NDArray[np.uint8], budget: TokenBudget, tokens: Tokens, count: int
    ) -> Callable[[], object]:
        """Frames in the host's memory and a prefix -> `count` tokens there, each known before the next is asked for."""
        length, asked = len(tokens), question(len(tokens))
        inputs, ids = self._prefix(tokens), torch.from_numpy(asked.ids).cuda()
        caches, tables = self._behind(length + len(asked) + count)

        @torch.no_grad()
        def run() -> object:
            visual = self._vision(torch.from_numpy(frames).cuda(), budget).visual_tokens_KW
            filled = self._language.prefill(*inputs, visual, caches)
            said = self._step(ids, length, filled, tables)
            for number in range(count - 1):
                said.next_token.item()
                said = self._step(said.next_token, length + len(asked) + number, said.caches, tables)
            return said.next_token.item()

        return run

    def _prefix(self, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """Token numbers, positions and slots."""
        slots = torch.arange(len(tokens), device="cuda")
        return torch.from_numpy(tokens.ids).cuda(), torch.from_numpy(tokens.positions).cuda(), slots

    def _behind(self, slots: int) -> tuple[list[Tensor], dict[bool, Rotary]]:
        return self._caches(slots), self._language.rotary_tables(slots)

    def _step(self, ids: Tensor, start: int, caches: list[Tensor], tables: dict[bool, Rotary]) -> LanguageOutput:
        end = start + len(ids)
        positions = torch.arange(start, end, device="cuda")
        last = torch.tensor([end - 1], dtype=torch.int32, device="cuda")
        return self._language.step(ids, positions, last, caches, tables)

    def _caches(self, slots: int) -> list[Tensor]:
        return self._language.empty_caches(slots, by_head=True)
