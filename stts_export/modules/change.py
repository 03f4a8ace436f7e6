"""A scorer without weights: a group is worth keeping as far as it differs from itself in the frame before.

Its score is 1 - cosine similarity of the group's patch features, all of them in one vector, with the same group's one
frame earlier: what the auxiliary loss of arXiv 2603.18004 teaches the trained scorer.

Shape suffixes: B clips, T frames, G groups, P patches a group, D channels of the tower, F = P x D.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stts_export.modules.config import ChangeConfig, VisionConfig
from stts_export.modules.operators import rms_norm
from stts_export.modules.scorer import Scorer

_EPS = 1e-6
ROUNDING = 1e-4
"""Taken off every score, down to 0. Where nothing changed there is only rounding left, and that must not decide."""


class ChangeScorer(Scorer):
    """Scores in 0 to 2. A group's features have a root mean square of 1 and are fp16 in every precision, so that
    windows and streams round alike; that moves scores far less than `ROUNDING`.
    """

    def __init__(self, vision: VisionConfig, config: ChangeConfig) -> None:
        super().__init__()
        self.width = config.feature_width(vision)

    def forward(self, hidden_BTGPD: Tensor) -> Tensor:
        features_BTGF = self.features(hidden_BTGPD)
        # Zeros in place of what was before would lie in the graph, as many as a frame has features.
        first_BTG = _scores(features_BTGF[:, :1].float())
        return torch.cat((first_BTG, self.scored(features_BTGF[:, :-1], features_BTGF[:, 1:])), dim=1)

    def features(self, hidden_BTGPD: Tensor) -> Tensor:
        rows = hidden_BTGPD.flatten(3)
        # A norm and not a division by it: no other form is computed in float32 by every engine (`lowering.tensorrt_8`).
        normed: Tensor = rms_norm(rows, torch.ones(self.width, dtype=rows.dtype, device=rows.device), _EPS)
        return normed.half()

    def scored(self, previous_BTGF: Tensor, features_BTGF: Tensor) -> Tensor:
        return _scores(features_BTGF.float() - previous_BTGF.float())


def _scores(difference_BTGF: Tensor) -> Tensor:
    """Half the squared distance of two vectors whose root mean square is 1, less what rounding makes of it.

    That is 1 - their cosine, without the cancellation in it: 0 for equal vectors, whatever the precision.
    """
    # Not a power: engines may take the logarithm of what is raised.
    distance_BTG: Tensor = (difference_BTGF * difference_BTGF).mean(dim=-1) / 2
    return torch.relu(distance_BTG - ROUNDING)
