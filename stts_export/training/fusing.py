"""torch.compile for what is slow about small widths: norms, GELU and residual sums, which compute little.

Attention stays as it is. All blocks share two compiled functions of tensors, for any number of rows, so that each
is compiled once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.modules.layers import SelfAttend
from stts_export.modules.projection import Projection
from stts_export.modules.vision import Vision
from stts_export.modules.vit import VitBlock
from stts_export.training.precision import reduced

_GROUP = 9
_LEFT = 2 * _GROUP


def fuse_blocks(vision: Vision, device: torch.device, rows: int) -> str | None:
    """Replaces the forward of every block by one that computes the same in fewer passes over memory.

    `rows` is about how many there will be: a compiler chooses by the first number that it sees. Returns why it cannot
    be compiled here; then nothing is changed.
    """
    blocks = [block for block in vision.vision_tower.layers if isinstance(block, VitBlock)]
    try:
        # The second number is one that pruning leaves, which should compile nothing again.
        for tried in (rows, rows // _LEFT * _GROUP):
            _try(blocks[0], device, tried)
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason'}"
    for block in blocks:
        block.forward = MethodType(_forward, block)  # type: ignore[method-assign]
    return None


def _try(block: VitBlock, device: torch.device, count: int) -> None:
    """Compiles forward and backward; gradients are left as they were."""
    rows = torch.randn(count, block.layer_norm1.weight.shape[0], device=device, requires_grad=True)
    with reduced(device):
        out = _forward(block, rows, lambda projection: projection.project()[2])
    out.float().sum().backward()
    block.zero_grad(set_to_none=True)


def _forward(block: VitBlock, x: Tensor, attend: SelfAttend) -> Tensor:
    first, second, attention, mlp = block.layer_norm1, block.layer_norm2, block.self_attn, block.mlp
    q, k, v, o = attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
    before, after = _compiled()
    normed = before(x, first.weight, first.bias, first.eps, torch.is_autocast_enabled(x.device.type))
    attended = attend(Projection(normed, q.weight, q.bias, k.weight, v.weight))
    bias = o.bias + F.linear(v.bias[None], o.weight).squeeze(0)
    return after(
        x, attended, o.weight, bias, second.weight, second.bias, second.eps,
        mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight, mlp.fc2.bias,
    )  # fmt: skip


@functools.cache
def _compiled() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """What a block does before its attention, and after it."""
    return torch.compile(_before_attention, dynamic=True), torch.compile(_after_attention, dynamic=True)


def _before_attention(x: Tensor, weight: Tensor, bias: Tensor, eps: float, narrow: bool) -> Tensor:
    normed = F.layer_norm(x, weight.shape, weight, bias, eps)
    # Narrowed once, not for each of three products.
    return normed.bfloat16() if narrow else normed


def _after_attention(
    x: Tensor,
    attended: Tensor,
    o_weight: Tensor,
    o_bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    eps: float,
    fc1_weight: Tensor,
    fc1_bias: Tensor,
    fc2_weight: Tensor,
    fc2_bias: Tensor,
) -> Tensor:
    x = x + F.linear(attended, o_weight, o_bias)
    normed = F.layer_norm(x, norm_weight.shape, norm_weight, norm_bias, eps)
    return x + F.linear(F.gelu(F.linear(normed, fc1_weight, fc1_bias), approximate="tanh"), fc2_weight, fc2_bias)
