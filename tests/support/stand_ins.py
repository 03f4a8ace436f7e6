"""Engines that compute little and need nothing installed, for tests about what happens around them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from stts_runtime.engines import FrameInput, IncrementalOutput
from stts_runtime.prompt import Tokens

_LETTER = 40


class IncrementalStandIn:
    """Keeps every group of a key frame, and of another the half that changed most; a group is a quarter's mean."""

    lowering, keep = "stand-in", 0.5

    def run(self, frame: np.ndarray, previous: np.ndarray | None, *, key: bool) -> IncrementalOutput:
        height, width = (size // 2 for size in frame.shape[:2])
        quarters = frame[: 2 * height, : 2 * width].reshape(2, height, 2, width, 3).mean(axis=(1, 3))
        pooled = quarters.reshape(4, 3).astype(np.float32) / 255
        change = np.ones(4, np.float32) if previous is None else np.abs(pooled - previous).max(axis=1)
        kept = np.ones(4, np.bool_)
        if not key:
            kept[np.argsort(change, kind="stable")[:2]] = False
        return IncrementalOutput(np.zeros((kept.sum(), 48), np.float32), kept, change, change, pooled)

    def run_many(self, looks: Sequence[FrameInput]) -> list[IncrementalOutput]:
        return [self.run(look.frame, look.previous, key=look.key) for look in looks]


class LanguageStandIn:
    """Says one letter for ever."""

    lowering = "stand-in"

    def __init__(self, context: int) -> None:
        self.context, self.length = context, 0

    def show(self, visual_tokens: Any) -> None:
        pass

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        self.length += len(tokens)
        return _LETTER

    def logits(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def rewind(self, length: int) -> None:
        self.length = length


class LanguageOfChance(LanguageStandIn):
    """Has logits drawn at random for each content of the cache, and the same for the same content."""

    def __init__(self, context: int, vocabulary: int) -> None:
        super().__init__(context)
        self._vocabulary, self._cache = vocabulary, [-1] * context
        self.calls = 0

    def forward(self, tokens: Tokens) -> int:
        self._cache[self.length : self.length + len(tokens)] = tokens.ids.tolist()
        self.calls += 1
        super().forward(tokens)
        return int(self.logits().argmax())

    def logits(self) -> np.ndarray:
        seed = zlib.crc32(repr(self._cache[: self.length]).encode())
        return np.random.default_rng(seed).normal(0, 3, self._vocabulary).astype(np.float32)
