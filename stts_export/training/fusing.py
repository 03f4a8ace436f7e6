"""torch.compile for what is slow about small widths: norms, GELU and residual sums, which compute little.

Attention stays as it is. All blocks share one compiled function of tensors, for any number of rows, so that it is
compiled once.
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

_TRIED_ROWS = 96


def fuse_blocks(vision: Vision, device: torch.device) -> str | None:
    """Replaces the forward of every block by one that computes the same in fewer passes over memory.

    Returns why it cannot be compiled here; then nothing is changed.
    """
    blocks = [block for block in vision.vision_tower.layers if isinstance(block, VitBlock)]
    try:
        _try(blocks[0], device)
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason'}"
    for block in blocks:
        block.forward = MethodType(_forward, block)  # type: ignore[method-assign]
    return None


def _try(block: VitBlock, device: torch.device) -> None:
    """Compiles forward and backward; gradients are left as they were."""
    rows = torch.randn(_TRIED_ROWS, block.layer_norm1.weight.shape[0], device=device, requires_grad=True)
    with reduced(device):
        out = _forward(block, rows, lambda projection: projection.project()[2])
    out.float().sum().backward()
    block.zero_grad(set_to_none=True)


def _forward(block: VitBlock, x: Tensor, attend: SelfAttend) -> Tensor:
    first, second, attention, mlp = block.layer_norm1, block.layer_norm2, block.self_attn, block.mlp
    q, k, v, o = attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
    normed = F.layer_norm(x, first.weight.shape, first.weight, first.bias, first.eps)
    attended = attend(Projection(normed, q.weight, q.bias, k.weight, v.weight))
    bias = o.bias + F.linear(v.bias[None], o.weight).squeeze(0)
    return _compiled()(
        x, attended, o.weight, bias, second.weight, second.bias, second.eps,
        mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight, mlp.fc2.bias,
    )  # fmt: skip


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_after_attention, dynamic=True)
    return compiled


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
