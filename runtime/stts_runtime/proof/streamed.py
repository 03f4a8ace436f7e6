"""A live engine as if it were one for windows, so that streams are held to the same bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.engines import IncrementalOutput, IncrementalVisionEngine, VisionOutput
from stts_runtime.references.geometry import Geometry


def live_windows(bundle: Bundle) -> dict[str, TokenBudget]:
    """By the names of the variants between key frames: the longest window made of them, after one key frame."""
    return Geometry.of(bundle.manifest).streamed


class StreamedWindow:
    """Looks at a window's frames one after the other."""

    def __init__(self, engine: IncrementalVisionEngine, lowering: str) -> None:
        self._engine, self.lowering = engine, lowering

    def run(self, frames: NDArray[np.uint8], given: NDArray[np.bool_] | None = None) -> VisionOutput:
        assert given is None, "a stream chooses by itself what to keep"
        outputs: list[IncrementalOutput] = []
        for frame in frames:
            previous = outputs[-1].pooled if outputs else None
            outputs.append(self._engine.run(frame, previous, key=not outputs))
        tokens = np.concatenate([one.visual_tokens for one in outputs])
        return VisionOutput(tokens, np.stack([one.kept for one in outputs]), np.stack([one.scores for one in outputs]))

    def downloaded(self, output: VisionOutput) -> NDArray[np.float32]:
        return widen(output.visual_tokens)


def widen(values: NDArray[Any]) -> NDArray[np.float32]:
    """As float32; bfloat16 comes as its bytes."""
    whole = (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values
    return np.asarray(whole, dtype=np.float32)
