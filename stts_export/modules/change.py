"""A scorer without weights: a group is worth keeping as far as it differs from itself in the frame before, and by half
as much as far as it differs from the rest of its frame.

The first is 1 - cosine similarity of the group's patch features, all of them in one vector, with the same group's one
frame earlier: what the auxiliary loss of arXiv 2603.18004 teaches the trained scorer. The second finds what came and
stays, of which the first knows nothing (docs/accuracy.md).

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
"""Taken off every change, down to 0. Where nothing changed there is only rounding left, and that must not decide."""
UNLIKE = 0.5
"""What it is worth to be unlike the rest of the frame, in terms of change."""


class ChangeScorer(Scorer):
    """Scores in 0 to 3. A group's features have a root mean square of 1 and are fp16 in every precision, so that
    windows and streams round alike; that moves scores far less than `ROUNDING`.
    """

    def __init__(self, vision: VisionConfig, config: ChangeConfig) -> None:
        super().__init__()
        self.width = config.feature_width(vision)

    def forward(self, hidden_BTGPD: Tensor) -> Tensor:
        features_BTGF = self.features(hidden_BTGPD)
        # Zeros in place of what was before would be in the graph, as many as a frame has features.
        wide_BTGF = features_BTGF.float()
        changes = [_change(wide_BTGF[:, :1]), _change(wide_BTGF[:, 1:] - wide_BTGF[:, :-1])]
        return torch.cat(changes, dim=1) + UNLIKE * _unlike(wide_BTGF)

    def features(self, hidden_BTGPD: Tensor) -> Tensor:
        rows = hidden_BTGPD.flatten(3)
        # A norm and not a division by it: no other form is computed in float32 by every engine (`lowering.tensorrt_8`).
        normed: Tensor = rms_norm(rows, torch.ones(self.width, dtype=rows.dtype, device=rows.device), _EPS)
        return normed.half()

    def scored(self, previous_BTGF: Tensor, features_BTGF: Tensor) -> Tensor:
        wide_BTGF = features_BTGF.float()
        return _change(wide_BTGF - previous_BTGF.float()) + UNLIKE * _unlike(wide_BTGF)


def _change(difference_BTGF: Tensor) -> Tensor:
    """1 - cosine of two vectors whose root mean square is 1, from their difference, less what rounding makes of it."""
    return torch.relu(_half_square(difference_BTGF) - ROUNDING)


def _unlike(features_BTGF: Tensor) -> Tensor:
    """How far each group is from the mean of its frame's, in the same terms."""
    return _half_square(features_BTGF - features_BTGF.mean(dim=2, keepdim=True))


def _half_square(difference_BTGF: Tensor) -> Tensor:
    """(B, T, G). For vectors of one length this is 1 - their cosine, without the cancellation in that: equal ones have
    exactly 0, whatever the precision.
    """
    # Not a power: engines may take the logarithm of what is raised.
    square: Tensor = (difference_BTGF * difference_BTGF).mean(dim=-1) / 2
    return square
