"""bfloat16 on the GPU, float32 where it matters."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from stts_export.modules.scorer import Scorer


def reduced(device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 on a GPU; weights and residual stream stay float32."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def keep_in_float32(scorer: Scorer) -> None:
    """The scorer runs in float32 in every precision, in training too."""
    forward = scorer.forward

    def in_float32(hidden_BTGPD: Tensor) -> Tensor:
        with torch.autocast("cuda", enabled=False):
            return forward(hidden_BTGPD)

    scorer.forward = in_float32  # type: ignore[method-assign]


def narrow_norms(module: nn.Module) -> None:
    """Norms hand on bfloat16 once, instead of float32 that each of the three projections after them narrows again."""

    def narrowed(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output.bfloat16()

    for norm in module.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.register_forward_hook(narrowed)
