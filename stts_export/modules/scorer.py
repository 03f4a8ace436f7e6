"""The token scorer and the attention bias made of its scores.

Source: "Unified Spatio-Temporal Token Scoring for Efficient Video VLMs", arXiv 2603.18004.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import ScorerConfig, VisionConfig
from stts_export.modules.layers import GroupPooling


class ScorerMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(2 * width, hidden)
        self.w2 = nn.Linear(hidden, hidden)
        self.w3 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.w3(F.silu(self.w2(F.silu(self.w1(x)))))
        return score


class TokenScorer(nn.Module):
    """Scores every group by itself and its predecessor in the frame before. Runs in float32 in every precision."""

    def __init__(self, vision: VisionConfig, config: ScorerConfig) -> None:
        super().__init__()
        self.patch_token_pooler = GroupPooling(vision.width, vision.width, vision.width, vision.heads)
        self.mlp = ScorerMlp(vision.width, config.mlp_width)

    def forward(self, hidden_TGPD: Tensor) -> Tensor:
        """Output of layer `prune_at`, not normed, by group -> scores (T, G) float32 in (0, 1); high is important."""
        frames, groups = hidden_TGPD.shape[:2]
        pooled_TGD = self.patch_token_pooler(hidden_TGPD.float().flatten(0, 1)).unflatten(0, (frames, groups))
        previous_TGD = torch.cat((torch.zeros_like(pooled_TGD[:1]), pooled_TGD[:-1]))
        pairs = torch.cat((previous_TGD, pooled_TGD), dim=-1).flatten(0, 1)
        return torch.sigmoid(self.mlp(pairs)).reshape(frames, groups)


def key_bias(scores_TG: Tensor, groups_per_side: int, patches_per_group: int, rescale_minimum: float) -> Tensor:
    """Log attention bias of every patch, (T, N) float32 in group order.

    Each row of a frame's patch grid is rescaled by its own minimum and maximum to [rescale_minimum, 1]. A group's
    patches share its score, so a row of patches has the extremes of its row of groups. The first frame gets no bias.
    """
    rows_TRC = scores_TG.unflatten(1, (groups_per_side, groups_per_side))
    low, high = rows_TRC.amin(dim=-1, keepdim=True), rows_TRC.amax(dim=-1, keepdim=True)
    factor_TG = ((rows_TRC - low) / (high - low + 1e-6) * (1 - rescale_minimum) + rescale_minimum).flatten(1)
    log_TG = torch.cat((torch.zeros_like(factor_TG[:1]), factor_TG[1:].log()))
    return log_TG.repeat_interleave(patches_per_group, dim=1)
