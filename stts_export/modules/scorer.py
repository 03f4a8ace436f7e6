"""The trained token scorer and the attention bias made of its scores; `modules.change` has one without weights.

Source: "Unified Spatio-Temporal Token Scoring for Efficient Video VLMs", arXiv 2603.18004.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stts_export.modules.config import ScorerConfig, VisionConfig
from stts_export.modules.layers import GroupPooling


class Scorer(nn.Module):
    """Scores every group by itself and its predecessor in the frame before."""

    def forward(self, hidden_BTGPD: Tensor) -> Tensor:
        """Output of layer `prune_at`, not normalised, by group -> scores (B, T, G) float32; high is important."""
        features_BTGF = self.features(hidden_BTGPD)
        previous_BTGF = torch.cat((torch.zeros_like(features_BTGF[:, :1]), features_BTGF[:, :-1]), dim=1)
        return self.scored(previous_BTGF, features_BTGF)

    def features(self, hidden_BTGPD: Tensor) -> Tensor:
        """One vector a group, (B, T, G, F): all that the next frame needs to know of this one."""
        raise NotImplementedError

    def scored(self, previous_BTGF: Tensor, features_BTGF: Tensor) -> Tensor:
        """Scores (B, T, G); `previous_BTGF` are zeros for a first frame."""
        raise NotImplementedError


class ScorerMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(2 * width, hidden)
        self.w2 = nn.Linear(hidden, hidden)
        self.w3 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.w3(F.silu(self.w2(F.silu(self.w1(x)))))
        return score


class TokenScorer(Scorer):
    """The trained scorer: scores in (0, 1), features (B, T, G, D). Runs in float32 in every precision."""

    def __init__(self, vision: VisionConfig, config: ScorerConfig) -> None:
        super().__init__()
        self.patch_token_pooler = GroupPooling(vision.width, vision.width, vision.width, vision.heads)
        self.mlp = ScorerMlp(vision.width, config.mlp_width)

    def features(self, hidden_BTGPD: Tensor) -> Tensor:
        """Each group's patches pooled, float32."""
        pooled: Tensor = self.patch_token_pooler(hidden_BTGPD.float().flatten(0, 2)).unflatten(
            0, hidden_BTGPD.shape[:3]
        )
        return pooled

    def scored(self, previous_BTGF: Tensor, features_BTGF: Tensor) -> Tensor:
        pairs = torch.cat((previous_BTGF, features_BTGF), dim=-1).flatten(0, 2)
        return torch.sigmoid(self.mlp(pairs)).reshape(features_BTGF.shape[:3])


def key_bias(scores_BTG: Tensor, groups_per_side: int, patches_per_group: int, rescale_minimum: float) -> Tensor:
    """Log attention bias of every patch, (B, T, N) float32 in group order.

    Each row of a frame's patch grid is rescaled by its own minimum and maximum to [rescale_minimum, 1]. A group's
    patches share its score, so a row of patches has the extremes of its row of groups.
    """
    rows_BTRC = scores_BTG.unflatten(2, (groups_per_side, groups_per_side))
    low, high = rows_BTRC.amin(dim=-1, keepdim=True), rows_BTRC.amax(dim=-1, keepdim=True)
    factor_BTG: Tensor = ((rows_BTRC - low) / (high - low + 1e-6) * (1 - rescale_minimum) + rescale_minimum).flatten(2)
    return factor_BTG.log().repeat_interleave(patches_per_group, dim=2)


def without_first(bias_BTN: Tensor) -> Tensor:
    """No bias for a clip's first frame, which is kept whole."""
    return torch.cat((torch.zeros_like(bias_BTN[:, :1]), bias_BTN[:, 1:]), dim=1)
