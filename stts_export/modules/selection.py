"""Which groups are kept: a fixed number over the clip, or a fixed number in every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from stts_export.modules.operators import keep_highest
from stts_runtime.budget import TokenBudget


def kept_groups(scores_BTG: Tensor, budget: TokenBudget) -> Tensor:
    """Clip-wide numbers (B, K) int64, ascending, of the groups that `budget` keeps of each clip: frame x G + group.

    The first frame is kept whole; among equal scores the lower number is dropped first.
    """
    if budget.scope == "given":
        raise ValueError("which groups a control keeps is not chosen here")
    clips, frames, groups = scores_BTG.shape
    first_BG = torch.arange(groups, device=scores_BTG.device).expand(clips, -1)
    if budget.kept == groups:
        return first_BG
    later_BtG = scores_BTG[:, 1:]
    if budget.scope == "clip":
        return torch.cat((first_BG, groups + keep_highest(later_BtG.flatten(1), budget.kept - groups)), dim=1)
    of_frame_Btk = keep_highest(later_BtG, budget.kept_per_later_frame)
    offsets_t = torch.arange(1, frames, device=scores_BTG.device) * groups
    return torch.cat((first_BG, (of_frame_Btk + offsets_t[:, None]).flatten(1)), dim=1)
