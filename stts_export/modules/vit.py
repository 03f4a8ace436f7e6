"""The vision transformer: SigLIP 2 blocks over patches in group order. It knows nothing of pruning.

Group order: a frame's patches lie group by group (groups row-major, the patches of a group row-major), so that a
group is one contiguous run of rows and keeping groups is one gather. Attention does not mind the order, and the
position table is permuted alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import VisionConfig
from stts_export.modules.layers import Attention, SelfAttend


def group_order(config: VisionConfig) -> Tensor:
    """Row-major patch numbers (N,) int64 in group order."""
    side, pool = config.groups_per_side, config.pool
    numbers = torch.arange(config.patches).reshape(side, pool, side, pool)
    return numbers.permute(0, 2, 1, 3).flatten()


def patches_of_frames(frames_THWC: Tensor, config: VisionConfig) -> Tensor:
    """uint8 RGB frames (T, H, W, 3) -> patches (T, N, values) float32 in group order, scaled to [-1, 1]."""
    frames, side, pool = frames_THWC.shape[0], config.groups_per_side, config.pool
    pixel = frames_THWC.shape[1] // config.grid
    scaled = (frames_THWC.float() - 127.5) / 127.5
    tiles = scaled.reshape(frames, side, pool, pixel, side, pool, pixel, 3)
    return tiles.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(frames, config.patches, config.patch_values)


class VitMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class VitBlock(nn.Module):
    """Pre-norm transformer block over rows (tokens, D)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.self_attn = Attention(config.width)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = VitMlp(config.width, config.mlp_width)

    def forward(self, x: Tensor, attend: SelfAttend) -> Tensor:
        # Blocks of one tower may differ in what they compute in.
        x = x.to(self.layer_norm1.weight.dtype)
        x = x + self.self_attn(self.layer_norm1(x), attend)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class VisionTransformer(nn.Module):
    """Patch embedding, positions and blocks; `stts_export.modules.vision` decides what each block sees."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Linear(config.patch_values, config.width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.patches, config.width))
        self.layers = nn.ModuleList(VitBlock(config) for _ in range(config.layers))

    def embed(self, patches_TNP: Tensor) -> Tensor:
        """Patches (T, N, values) in group order -> rows (T * N, D)."""
        frames = patches_TNP.shape[0]
        order = group_order(self.config).to(self.positional_embedding.device)
        positions_ND = self.positional_embedding.index_select(0, order)
        embedded: Tensor = self.patch_embedding(patches_TNP.flatten(0, 1).to(self.patch_embedding.weight.dtype))
        return (embedded.reshape(frames, self.config.patches, -1) + positions_ND).flatten(0, 1)
