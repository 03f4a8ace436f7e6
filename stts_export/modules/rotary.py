"""Rotary positions: the angles of every token, plain or scaled for contexts longer than the model was first trained on.

Source: transformers' `modeling_rope_utils.py` (5.23), whose results these equal; YaRN is arXiv 2309.00071.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from stts_export.modules.config import LinearScaling, Llama3Scaling, RotaryConfig, RotaryScaling, YarnScaling


class Rotary(NamedTuple):
    """Cosine and sine of every token's angles, each (B, L, head dimension / 2)."""

    cos: Tensor
    sin: Tensor

    def rows(self, positions_L: Tensor) -> Rotary:
        """Those of a sequence's positions, where this is a table (positions, head dimension / 2)."""
        return Rotary(*(table.index_select(0, positions_L).unsqueeze(0) for table in self))


def rotary_of_layer_kinds(
    config: RotaryConfig, head_dim: int, positions_BL: Tensor, dtype: torch.dtype
) -> dict[bool, Rotary]:
    """The angles of layers with scaling (True) and of those without, as far as the model has them."""
    scalings = {False: None} if config.scaling is None else {False: None, True: config.scaling}
    return {
        scaled: _rotary(config.theta, scaling, head_dim, positions_BL, dtype) for scaled, scaling in scalings.items()
    }


def _rotary(
    theta: float, scaling: RotaryScaling | None, head_dim: int, positions_BL: Tensor, dtype: torch.dtype
) -> Rotary:
    frequency_r = _plain(theta, head_dim, positions_BL.device)
    if scaling is not None:
        frequency_r = _scaled(frequency_r, scaling, theta)
    angle_BLr = positions_BL.float().unsqueeze(-1) * frequency_r
    amplitude = scaling.amplitude if isinstance(scaling, YarnScaling) else 1.0
    return Rotary((angle_BLr.cos() * amplitude).to(dtype), (angle_BLr.sin() * amplitude).to(dtype))


def _plain(theta: float, head_dim: int, device: torch.device) -> Tensor:
    """Radians a position, (head dimension / 2,) float32."""
    half = head_dim // 2
    frequency: Tensor = theta ** -(torch.arange(half, dtype=torch.float32, device=device) / half)
    return frequency


def _scaled(frequency_r: Tensor, scaling: RotaryScaling, theta: float) -> Tensor:
    slowed_r = frequency_r / scaling.factor
    if isinstance(scaling, LinearScaling):
        return slowed_r
    share_r = (
        _llama3_share(frequency_r, scaling)
        if isinstance(scaling, Llama3Scaling)
        else _yarn_share(frequency_r, scaling, theta)
    )
    return slowed_r * (1 - share_r) + frequency_r * share_r


def _yarn_share(frequency_r: Tensor, scaling: YarnScaling, theta: float) -> Tensor:
    """How much of each unscaled frequency stays: all of the fast ones, nothing of the slow ones, a ramp between."""
    half = frequency_r.shape[0]

    def dimension_that_turns(times: float) -> float:
        return half * math.log(scaling.original_context / (times * 2 * math.pi)) / math.log(theta)

    first, last = dimension_that_turns(scaling.beta_fast), dimension_that_turns(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * half - 1)
    dimensions_r = torch.arange(half, dtype=torch.float32, device=frequency_r.device)
    return 1 - ((dimensions_r - first) / (max(last - first, 1e-3))).clamp(0, 1)


def _llama3_share(frequency_r: Tensor, scaling: Llama3Scaling) -> Tensor:
    """The same, by how often a frequency turns within the original context."""
    turns_r = scaling.original_context * frequency_r / (2 * math.pi)
    return ((turns_r - scaling.low_turns) / (scaling.high_turns - scaling.low_turns)).clamp(0, 1)
