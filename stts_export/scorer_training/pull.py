"""How hard the answers may pull at a score.

The log attention bias rescales each row of a frame's groups by its lowest and highest score, so that the answers'
gradient grows as 1 / their distance: on twelve clips of a tower of 7 layers it was 10 to 1,000 times as large as that
of change, and largest where nothing happens. Weights that follow such a gradient forget change.

Shape suffixes: B clips, T frames, G groups a frame, R rows of groups, C groups a row.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_FULL_SPAN = 0.2
"""Distance of a row's lowest and highest score from which its gradient is taken as it is."""


class _Pulled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores_BTG: Tensor) -> Tensor:
        side = math.isqrt(scores_BTG.shape[2])
        rows_BTRC = scores_BTG.unflatten(2, (side, side))
        span_BTR1 = rows_BTRC.amax(dim=-1, keepdim=True) - rows_BTRC.amin(dim=-1, keepdim=True)
        damping_BTRC = (span_BTR1 / _FULL_SPAN).clamp(max=1).expand_as(rows_BTRC)
        ctx.save_for_backward(damping_BTRC.flatten(2))
        return scores_BTG.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (damping_BTG,), (gradient_BTG,) = ctx.saved_tensors, gradients
        most = 1 / gradient_BTG[0, 1:].numel()
        bounded: Tensor = (gradient_BTG * damping_BTG).clamp(-most, most)
        return bounded


def gently_pulled(scores_BTG: Tensor) -> Tensor:
    """The same scores, whose gradient, of a loss summed over clips, is damped in narrow rows and at most 1 over the
    number of a clip's scores: as far as a cross-entropy averaged over them pulls at one that is quite off.
    """
    pulled: Tensor = _Pulled.apply(scores_BTG)  # type: ignore[no-untyped-call]
    return pulled
