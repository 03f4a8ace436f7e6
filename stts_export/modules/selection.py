"""Which groups are kept: a fixed number over the clip, or a fixed number in every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from stts_export.modules.operators import keep_highest
from stts_runtime.budget import TokenBudget


def kept_groups(scores_TG: Tensor, budget: TokenBudget) -> Tensor:
    """Clip-wide numbers (K,) int64, ascending, of the groups that `budget` keeps: frame x G + group.

    The first frame is kept whole; among equal scores the lower number is dropped first.
    """
    frames, groups = scores_TG.shape
    first = torch.arange(groups, device=scores_TG.device)
    if budget.kept == groups:
        return first
    later_tG = scores_TG[1:]
    if budget.scope == "clip":
        return torch.cat((first, groups + keep_highest(later_tG.flatten(), budget.kept - groups)))
    of_frame_tk = keep_highest(later_tG, budget.kept_per_later_frame)
    offsets_t = torch.arange(1, frames, device=scores_TG.device) * groups
    return torch.cat((first, (of_frame_tk + offsets_t[:, None]).flatten()))
