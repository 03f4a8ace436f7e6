"""The checkpoint's modules, in float32, behind the interface of the runtime's engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_runtime.engines.interfaces import VisionOutput, check_room
from stts_runtime.prompt import Tokens


def reference_vision(
    vision: Vision,
    frames: NDArray[np.uint8],
    budget: TokenBudget,
    given: NDArray[np.bool_] | None = None,
    refill: bool = False,
) -> VisionOutput:
    """What the modules make of a window; `given` (T, G) is kept in place of the scorer's choice."""
    kept_K = None if given is None or budget.keep == 1 else torch.from_numpy(np.flatnonzero(given))
    with torch.no_grad():
        output = vision(torch.from_numpy(frames), budget, kept_K, refill)
    kept = np.ones((budget.frames, budget.groups), dtype=np.bool_)
    if output.kept_K is not None:
        kept[:] = False
        kept.reshape(-1)[output.kept_K.numpy()] = True
    scores = None if output.scores_TG is None else output.scores_TG.numpy()
    return VisionOutput(output.visual_tokens_KW.numpy(), kept, scores)


class ReferenceLanguage:
    """The language model's modules with a cache, as an engine."""

    lowering = "modules"

    def __init__(self, language: Language, context: int) -> None:
        self._language = language
        self.context, self.length = context, 0
        self._visual: Any = None
        self._caches = language.empty_caches(context)
        self._logits: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def show(self, visual_tokens: NDArray[np.float32]) -> None:
        self._visual = visual_tokens

    def prefill(self, tokens: Tokens) -> None:
        self.forward(tokens)

    def forward(self, tokens: Tokens) -> int:
        check_room(self, tokens)
        ids, positions = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.positions)
        start, visual = torch.tensor([self.length]), torch.from_numpy(self._visual)
        with torch.no_grad():
            output = self._language(ids, positions, start, visual, self._caches)
        self._caches = output.caches
        self._logits = output.logits[0].numpy()
        self.length += len(tokens)
        return int(output.next_token)

    def logits(self) -> NDArray[np.float32]:
        return self._logits

    def rewind(self, length: int) -> None:
        self.length = length
