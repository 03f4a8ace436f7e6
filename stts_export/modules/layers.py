"""Layers that more than one part of the model is made of. All take tokens as rows: (tokens, width)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.operators import gated, group_mean, rms_norm
from stts_export.modules.projection import Projection

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention over projected queries, keys and values; the callable knows who sees whom."""


SelfAttend = Callable[[Projection], Tensor]
"""Attention of rows to each other; the callable knows who sees whom, and may lay out the projections as it likes."""


class Attention(nn.Module):
    """Multi-head self-attention with biases; `attend` decides which tokens see each other.

    Two of its four biases need no pass over the tokens. The keys' adds the same to all logits of a query, which softmax
    ignores; the values' adds the same to every output, since the weights sum to one, and so joins the last bias.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, attend: SelfAttend) -> Tensor:
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        bias = self.o_proj.bias + F.linear(v.bias[None], self.o_proj.weight).squeeze(0)
        return F.linear(attend(Projection(x, q.weight, q.bias, k.weight, v.weight)), self.o_proj.weight, bias)


class GroupPooling(nn.Module):
    """Pools the patches of each group into one vector: the mean is the query, the patches are keys and values.

    The connector's `image_pooling_2d` and the scorer's `patch_token_pooler` both are this. With one query a group it
    is cheaper to carry the key projection over to the query, and to project the weighted sum of the patches instead of
    every patch: q . (W x + b) = (W' q) . x + constant, and softmax ignores the constant (so the key bias drops out).
    That is about a ninth of the multiplications.
    """

    def __init__(self, input_width: int, channels: int, output_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(input_width, channels)
        self.k_proj = nn.Linear(input_width, channels)
        self.v_proj = nn.Linear(input_width, channels)
        self.o_proj = nn.Linear(channels, output_width)

    def forward(self, x_KPD: Tensor) -> Tensor:
        """(groups, patches a group, width) -> (groups, output width)."""
        query_HKd = self.q_proj(group_mean(x_KPD)).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        keys_HdD, values_HdD = (p.weight.unflatten(0, (self.heads, -1)) for p in (self.k_proj, self.v_proj))
        query_KHD = (query_HKd @ keys_HdD).transpose(0, 1) * query_HKd.shape[-1] ** -0.5
        weights_KHP = torch.softmax(query_KHD @ x_KPD.transpose(1, 2), dim=-1)
        mixed_HKD = (weights_KHP @ x_KPD).transpose(0, 1)
        value_KC = (mixed_HKD @ values_HdD.transpose(1, 2)).transpose(0, 1).flatten(1) + self.v_proj.bias
        pooled: Tensor = self.o_proj(value_KC)
        return pooled


class GatedMlp(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)), without biases."""

    def __init__(self, width: int, hidden: int, output_width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, output_width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down_proj(gated(self.gate_proj(x), self.up_proj(x)))
        return down


class RmsNorm(nn.Module):
    """Scales the last dimension to a root mean square of `weight`."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = rms_norm(x, self.weight, self.eps)
        return normed
