"""Where in the cache the tokens of a call go, computed from their number or from indices that the host gives.

Shape suffixes: L tokens of a call, S slots of the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Indices(NamedTuple):
    """What depends on the number of tokens of a call; int64, as `stts_runtime.bundle.contract` computes it."""

    slots_L: Tensor
    """The slot of each token."""
    start: Tensor
    """(1,), the first of them."""
    last: Tensor
    """(1,), the last of them."""
    visual_rows_L: Tensor
    """The row of the visual tokens that is added to each image patch; 0 for other tokens."""


class Slots(NamedTuple):
    """Where the tokens of a call go."""

    slot_L: Tensor
    """The slot of each token."""
    row_S: Tensor
    """The token that each slot is written from; for slots that are not written, the nearest one."""
    is_new_S: Tensor
    """Which slots are written."""

    def seen(self, both_ways_L: Tensor | None) -> Tensor:
        """(L, S) bool: each token sees the slots up to its own, and tokens in `both_ways_L` see each other."""
        all_S = torch.arange(self.row_S.shape[0], device=self.row_S.device)
        causal_LS = all_S[None, :] <= self.slot_L[:, None]
        if both_ways_L is None:
            return causal_LS
        both_ways_S = both_ways_L.index_select(0, self.row_S) & self.is_new_S
        return causal_LS | (both_ways_L[:, None] & both_ways_S[None, :])


def slots_from(start: Tensor, tokens: int, slots: int) -> Slots:
    """For `tokens` tokens, of which the first goes to slot start[0], in a cache of `slots`."""
    slot_L = start + torch.arange(tokens, device=start.device)
    row_S = torch.arange(slots, device=start.device) - start
    return Slots(slot_L, row_S.clamp(min=0, max=tokens - 1), (row_S >= 0) & (row_S < tokens))


def slots_of(indices: Indices, slots: int) -> Slots:
    """The same without the number of tokens, in a cache of `slots`."""
    all_S = torch.arange(slots, device=indices.start.device)
    row_S = torch.minimum((all_S - indices.start).clamp(min=0), indices.last - indices.start)
    return Slots(indices.slots_L, row_S, (all_S >= indices.start) & (all_S <= indices.last))
