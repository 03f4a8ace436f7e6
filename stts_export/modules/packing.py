"""Exact packing: attention within frames over kept tokens that lie one after the other.

After pruning a frame holds anything from no group to all of them, so a (frames, tokens) array would be ragged, while
a compiled graph wants constant shapes. The only thing known in advance is the total, K groups. But that bounds every
frame once they are sorted: the i-th largest of them holds at most K / i groups. So each rank gets a seat of that
constant size; ranks share a few sizes, which are chosen so that the fewest multiplications are wasted, and ranks with
equal seats form one batch; and every frame attends to itself within its seat, masked after its length. The result
equals running every frame alone, whatever the split.

With 16 frames of 36 groups and keep 0.5, the seats cost 0.74 of the attention products of whole frames. Sliding
windows over the packed tokens (each block sees every token that can belong to its frames) cost 1.03 of them, and copy
every key 18 times (benchmarks/cpu/packing-tiny.json).

This module knows nothing of scores; it takes the frame number of every kept group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from stts_export.modules.operators import define, prefix_attention
from stts_export.modules.projection import Projection

SEAT_SIZES = 5
"""Different seat sizes at most; more of them waste less padding and make smaller batches."""


class Batch(NamedTuple):
    """Seats of one size."""

    size: int
    """Groups in each."""
    ranks: int


def batches(kept: int, frames: int, groups: int, sizes: int = SEAT_SIZES) -> list[Batch]:
    """Seats of the ranks, largest frame first, for `kept` groups in all and at most `groups` a frame.

    Of all ways to take at most `sizes` sizes, the one with the fewest multiplications. Ranks that are always empty have
    no seat.
    """
    bounds = [min(groups, kept // rank) for rank in range(1, min(frames, kept) + 1)]
    steps = [Batch(bound, len(list(ranks))) for bound, ranks in groupby(bounds)]
    # For the steps from each on, in at most as many sizes as there were rounds: multiplications, and the batches.
    best: list[tuple[float, list[Batch]]] = [(math.inf, [])] * len(steps) + [(0, [])]
    for _ in range(sizes):
        best = [min(_starts(steps, first, best), key=itemgetter(0)) for first in range(len(steps))] + [(0, [])]
    return best[0][1]


def _starts(
    steps: Sequence[Batch], first: int, behind: Sequence[tuple[float, list[Batch]]]
) -> Iterator[tuple[float, list[Batch]]]:
    """All ways to begin at a step: its bound is the size of the first batch, which later steps may share."""
    for end in range(len(steps), first, -1):
        batch = Batch(steps[first].size, sum(step.ranks for step in steps[first:end]))
        multiplications, rest = behind[end]
        yield batch.size**2 * batch.ranks + multiplications, [batch, *rest]


SeatAttend = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Attention within the seats of one size: tensors (R, patches of a seat, C) and how many patches of each seat (R,) are
in use -> (R, patches of a seat, channels)."""


def attend_in_seats(
    tensors: Sequence[Tensor], frame_K: Tensor, frames: int, seats: Sequence[Batch], attend: SeatAttend
) -> Tensor:
    """Packed rows (M, C) of each tensor take their seats, attend and go back: (M, channels)."""
    kept, patches = frame_K.shape[0], tensors[0].shape[0] // frame_K.shape[0]
    layout = seat_layout(frame_K, frames, seats)

    def seated(x_MC: Tensor) -> tuple[Tensor, ...]:
        by_seat = x_MC.reshape(kept, -1).index_select(0, layout.group_of_slot).reshape(-1, x_MC.shape[-1])
        parts: tuple[Tensor, ...] = by_seat.split([size * ranks * patches for size, ranks in seats])
        return parts

    # A frame with nothing kept would leave a softmax without a key; what its seat computes is never read.
    lengths = (layout.count_of_rank.clamp(min=1) * patches).split([ranks for _, ranks in seats])
    attended = []
    for (_, ranks), length, *parts in zip(seats, lengths, *map(seated, tensors), strict=True):
        attended.append(attend([x.unflatten(0, (ranks, -1)) for x in parts], length))
    channels = attended[0].shape[-1]
    by_group = torch.cat([x.reshape(-1, patches * channels) for x in attended])
    return by_group.index_select(0, layout.slot_of_group).reshape(-1, channels)


def _packed_attention(
    q_MC: Tensor, k_MC: Tensor, v_MC: Tensor, frame_K: Tensor, frames: int, groups: int, heads: int
) -> Tensor:
    def attend(parts: Sequence[Tensor], lengths_R: Tensor) -> Tensor:
        return prefix_attention(*parts, lengths_R, heads)

    seats = batches(frame_K.shape[0], frames, groups)
    return attend_in_seats((q_MC, k_MC, v_MC), frame_K, frames, seats, attend)


class SeatLayout(NamedTuple):
    """Who sits where. R ranks have a seat, S slots of one group each make up the seats."""

    group_of_slot: Tensor
    """(S,) the packed group in each slot; slots after a frame's end repeat some group, which is masked."""
    slot_of_group: Tensor
    """(K,) its inverse over slots that are in use."""
    count_of_rank: Tensor
    """(R,) groups of the frame in each seat."""


def seat_layout(frame_K: Tensor, frames: int, seats: Sequence[Batch]) -> SeatLayout:
    kept, device = frame_K.shape[0], frame_K.device
    before_T = (frame_K[None, :] < torch.arange(frames + 1, device=device)[:, None]).sum(dim=1)
    start_T, count_T = before_T[:-1], before_T[1:] - before_T[:-1]
    order_T, rank_T = _ranks(count_T, seats)

    # Sizes of seats are constants; everything up to `place_S` is folded when the graph is exported.
    size_R = torch.cat([torch.full((ranks,), size, device=device) for size, ranks in seats])
    end_R = size_R.cumsum(0)
    slot_S = torch.arange(sum(size * ranks for size, ranks in seats), device=device)
    rank_S = (slot_S[:, None] >= end_R[None, :]).sum(dim=1)
    place_S = slot_S - (end_R - size_R).index_select(0, rank_S)

    seated_R = order_T[: size_R.shape[0]]
    group_S = start_T.index_select(0, seated_R).index_select(0, rank_S) + place_S
    first_slot_K = (end_R - size_R).index_select(0, rank_T.index_select(0, frame_K))
    place_K = torch.arange(kept, device=device) - start_T.index_select(0, frame_K)
    return SeatLayout(group_S.clamp(max=kept - 1), first_slot_K + place_K, count_T.index_select(0, seated_R))


def _ranks(count_T: Tensor, seats: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The frame of each rank and the rank of each frame; where all seats are equal, frames may sit as they come."""
    frames = count_T.shape[0]
    if [ranks for _, ranks in seats] == [frames]:
        as_they_come = torch.arange(frames, device=count_T.device)
        return as_they_come, as_they_come
    order_T = torch.topk(count_T, frames).indices
    return order_T, torch.topk(order_T, frames, largest=False).indices


def _packed_self_attention(
    rows_MC: Tensor,
    q_CC: Tensor,
    q_bias_C: Tensor,
    k_CC: Tensor,
    v_CC: Tensor,
    frame_K: Tensor,
    frames: int,
    groups: int,
    heads: int,
) -> Tensor:
    q, k, v = Projection(rows_MC, q_CC, q_bias_C, k_CC, v_CC).project()
    attended: Tensor = packed_attention(q, k, v, frame_K, frames, groups, heads)
    return attended


# q, k, v are (M, C) with M = K x patches a group, in frame order; frame_K (K,) int64 is each group's frame, ascending.
packed_attention = define(
    "packed_attention(Tensor q, Tensor k, Tensor v, Tensor frame, int frames, int groups, int heads) -> Tensor",
    _packed_attention,
)

# The same from rows that are yet to be projected.
packed_self_attention = define(
    "packed_self_attention(Tensor rows, Tensor q, Tensor q_bias, Tensor k, Tensor v, Tensor frame, int frames, "
    "int groups, int heads) -> Tensor",
    _packed_self_attention,
)
