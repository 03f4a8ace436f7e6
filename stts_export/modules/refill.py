"""Refill: what the reference does to frames that are alone in their row, and the exported graphs leave out.

The reference packs the kept patches of frames into rows of one frame's length, first fit, largest frame first. A frame
that ends up alone in its row gets its dropped patches back for all later layers; they are dropped again after them.
Which frames that are depends on the data, so no static graph can do it. The released checkpoints were trained so.

Source: the reference implementation of arXiv 2603.18004. It sorts frames with equal counts in no particular order; here
the earlier comes first. It also refills a frame of which nothing was kept, if there is exactly one; nothing of that is
ever read, so it is left out here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def refilled_frames(count_T: Tensor, groups: int) -> list[int]:
    """Frames that are given back what they lost, ascending; `count_T` are groups kept of `groups`."""
    rows: list[list[int]] = []
    room: list[int] = []
    counts = [int(count) for count in count_T]
    for frame in sorted(range(len(counts)), key=lambda frame: -counts[frame]):
        if counts[frame] == 0:
            continue
        row = next((number for number, left in enumerate(room) if counts[frame] <= left), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(groups)
        rows[row].append(frame)
        room[row] -= counts[frame]
    return sorted(row[0] for row in rows if len(row) == 1 and counts[row[0]] < groups)


def with_refill(kept_K: Tensor, frames: int, groups: int) -> Tensor:
    """Clip-wide numbers of all groups that continue after the cut: the kept ones and those given back, ascending."""
    kept = torch.zeros(frames * groups, dtype=torch.bool, device=kept_K.device).index_fill(0, kept_K, value=True)
    by_frame = kept.unflatten(0, (frames, groups))
    by_frame[refilled_frames(by_frame.sum(dim=1), groups)] = True
    numbers: Tensor = by_frame.flatten().nonzero().flatten()
    return numbers
