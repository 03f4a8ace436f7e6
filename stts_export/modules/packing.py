"""Exact packing: attention within frames over kept tokens that lie one after the other.

After pruning a frame holds anything from no group to all of them, so a (frames, tokens) array would be ragged, while
a compiled graph wants constant shapes. The only thing known in advance is the total, K groups. But that bounds every
frame once they are sorted: the i-th largest of them holds at most K / i groups. So each rank gets a seat of that
constant size, rounded up to a ninth of a frame; ranks with equal seats form one batch; and every frame attends to
itself within its seat, masked behind its length. The result equals running every frame alone, whatever the split.

With 16 frames of 36 groups and keep 0.5, the seats cost 0.74 of the attention products of whole frames. Sliding
windows over the packed tokens (each block sees every token that can belong to its frames) cost 1.03 of them, and copy
every key 18 times (docs/performance.md).

This module knows nothing of scores; it takes the frame number of every kept group.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from stts_export.modules.operators import define, prefix_attention

SEAT_SIZES = 9
"""Different seat sizes at most; more of them waste less padding and make smaller batches."""


def seats(kept: int, frames: int, groups: int) -> list[int]:
    """Groups in the seat of each rank, largest frame first, for `kept` groups in all and at most `groups` a frame."""
    step = -(-groups // SEAT_SIZES)
    bounds = [min(groups, kept // rank) for rank in range(1, frames + 1)]
    return [min(groups, -(-bound // step) * step) for bound in bounds]


def _packed_attention(
    q_MC: Tensor, k_MC: Tensor, v_MC: Tensor, frame_K: Tensor, frames: int, groups: int, heads: int
) -> Tensor:
    kept, channels, patches = frame_K.shape[0], q_MC.shape[-1], q_MC.shape[0] // frame_K.shape[0]
    batches = [(size, len(list(ranks))) for size, ranks in groupby(seats(kept, frames, groups)) if size]
    layout = _seat_layout(frame_K, frames, batches)

    def seated(x_MC: Tensor) -> tuple[Tensor, ...]:
        by_seat = x_MC.reshape(kept, -1).index_select(0, layout.group_of_slot).reshape(-1, channels)
        parts: tuple[Tensor, ...] = by_seat.split([size * ranks * patches for size, ranks in batches])
        return parts

    # A frame with nothing kept would leave a softmax without a key; what its seat computes is never read.
    lengths = (layout.count_of_rank.clamp(min=1) * patches).split([ranks for _, ranks in batches])
    attended = []
    for (_, ranks), q, k, v, length in zip(batches, seated(q_MC), seated(k_MC), seated(v_MC), lengths, strict=True):
        batch = (x.unflatten(0, (ranks, -1)) for x in (q, k, v))
        attended.append(prefix_attention(*batch, length, heads).reshape(-1, patches * channels))
    return torch.cat(attended).index_select(0, layout.slot_of_group).reshape(-1, channels)


class _SeatLayout(NamedTuple):
    """Who sits where. R ranks have a seat, S slots of one group each make up the seats."""

    group_of_slot: Tensor
    """(S,) the packed group in each slot; slots behind a frame's end repeat some group that nobody attends to."""
    slot_of_group: Tensor
    """(K,) its inverse over slots that are in use."""
    count_of_rank: Tensor
    """(R,) groups of the frame in each seat."""


def _seat_layout(frame_K: Tensor, frames: int, batches: Sequence[tuple[int, int]]) -> _SeatLayout:
    kept, device = frame_K.shape[0], frame_K.device
    count_T = (frame_K[None, :] == torch.arange(frames, device=device)[:, None]).sum(dim=1)
    start_T = count_T.cumsum(0) - count_T
    order_T = torch.topk(count_T, frames).indices
    rank_T = torch.topk(order_T, frames, largest=False).indices

    # Sizes of seats are constants; an engine folds everything up to `place_S` when it loads the graph.
    size_R = torch.cat([torch.full((ranks,), size, device=device) for size, ranks in batches])
    end_R = size_R.cumsum(0)
    slot_S = torch.arange(sum(size * ranks for size, ranks in batches), device=device)
    rank_S = (slot_S[:, None] >= end_R[None, :]).sum(dim=1)
    place_S = slot_S - (end_R - size_R).index_select(0, rank_S)

    seated_R = order_T[: size_R.shape[0]]
    group_S = start_T.index_select(0, seated_R).index_select(0, rank_S) + place_S
    first_slot_K = (end_R - size_R).index_select(0, rank_T.index_select(0, frame_K))
    place_K = torch.arange(kept, device=device) - start_T.index_select(0, frame_K)
    return _SeatLayout(group_S.clamp(max=kept - 1), first_slot_K + place_K, count_T.index_select(0, seated_R))


# q, k, v are (M, C) with M = K x patches a group, in frame order; frame_K (K,) int64 is each group's frame, ascending.
packed_attention = define(
    "packed_attention(Tensor q, Tensor k, Tensor v, Tensor frame, int frames, int groups, int heads) -> Tensor",
    _packed_attention,
)
