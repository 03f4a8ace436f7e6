"""Attention with a bias or a mask for engines whose fused kernels take neither: it rides in channels of the heads.

Every head gets a few more channels, made with the projections. In the first of them the scaled queries hold
one and the keys their bias, which adds exactly the bias to each logit; in all others there are zeros. The head_dim
stays a multiple of eight, as such kernels want it.

TensorRT 8.6 computes an attention without a mask in one kernel, and any other in three that write the logits to
memory and take about four times as long at a head_dim of 72 (benchmarks/tensorrt/).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.modules.operators import channel_biased_attention
from stts_export.modules.packing import attend_in_seats, batches
from stts_export.modules.projection import Projection

_UNSEEN = -30000.0
"""The bias of a masked key: finite in fp16, and its exponential is 0 next to that of any other."""


def biased_in_wide_heads(
    rows_MC: Tensor,
    q_CC: Tensor,
    q_bias_C: Tensor,
    k_CC: Tensor,
    v_CC: Tensor,
    bias_BN: Tensor,
    heads: int,
    spare: int,
) -> Tensor:
    """As `operators.biased_self_attention`, with `spare` channels more in every head."""
    projected = _project(Projection(rows_MC, q_CC, q_bias_C, k_CC, v_CC), heads, spare)
    q, k, v = projected.unflatten(0, (bias_BN.shape[0], -1)).chunk(3, dim=-1)
    attended: Tensor = channel_biased_attention(q, k, v, bias_BN, heads, spare)
    return attended.flatten(0, 1)


def packed_in_wide_heads(
    rows_MC: Tensor,
    q_CC: Tensor,
    q_bias_C: Tensor,
    k_CC: Tensor,
    v_CC: Tensor,
    frame_K: Tensor,
    frames: int,
    groups: int,
    heads: int,
    spare: int,
    sizes: int,
) -> Tensor:
    """As `packing.packed_self_attention`, in seats of at most `sizes` sizes and with `spare` channels more a head.

    Queries, keys and values go to their seats together, in one gather.
    """

    def attend(parts: Sequence[Tensor], lengths_R: Tensor) -> Tensor:
        (joined,) = parts
        is_unseen = torch.arange(joined.shape[1], device=joined.device)[None] >= lengths_R[:, None]
        q, k, v = joined.chunk(3, dim=-1)
        return channel_biased_attention(q, k, v, is_unseen.to(joined.dtype) * _UNSEEN, heads, spare)

    projected = _project(Projection(rows_MC, q_CC, q_bias_C, k_CC, v_CC), heads, spare)
    seats = batches(frame_K.shape[0], frames, groups, sizes)
    return attend_in_seats((projected,), frame_K, frames, seats, attend)


def _project(projection: Projection, heads: int, spare: int) -> Tensor:
    """Queries, keys and values next to each other, in one product: (M, 3 x heads x (head_dim + spare))."""
    weight = torch.cat([_widen(each, heads, spare) for each in (projection.q, projection.k, projection.v)])
    bias = _widen(projection.q_bias[:, None], heads, spare).squeeze(1)
    return F.linear(projection.rows, weight, torch.cat((bias, bias.new_zeros(2 * bias.shape[0]))))


def _widen(weight_CD: Tensor, heads: int, spare: int) -> Tensor:
    """Zero rows at the end of every head's."""
    by_head = weight_CD.unflatten(0, (heads, -1))
    return torch.cat((by_head, by_head.new_zeros(heads, spare, weight_CD.shape[1])), dim=1).flatten(0, 1)
