"""Exact packing equals attention over every frame alone, however the kept groups fall."""

from __future__ import annotations

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stts_export.modules.operators import attention
from stts_export.modules.packing import packed_attention, seats

GROUPS, PATCHES, HEADS, CHANNELS = 12, 9, 2, 8


def frame_by_frame(q: Tensor, k: Tensor, v: Tensor, counts: list[int]) -> Tensor:
    parts = zip(*(x.split([count * PATCHES for count in counts]) for x in (q, k, v)), strict=True)
    attended = [attention(*(x.unsqueeze(0) for x in part), HEADS)[0] for part in parts if len(part[0])]
    return torch.cat(attended)


@given(st.lists(st.integers(0, GROUPS), min_size=1, max_size=8).filter(any), st.integers(0, 2**31))
@example([12, 0, 0, 1], 0)  # frames with nothing kept
@example([12, 12, 12], 0)  # nothing dropped
@example([0, 0, 5], 0)  # first frames empty
@example([1] * 8, 0)
@settings(deadline=None, max_examples=60)
def test_packing_equals_frame_by_frame_attention(counts: list[int], seed: int) -> None:
    kept = sum(counts)
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(kept * PATCHES, CHANNELS, generator=generator) for _ in range(3))
    frame = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    packed = packed_attention(q, k, v, frame, len(counts), GROUPS, HEADS)
    torch.testing.assert_close(packed, frame_by_frame(q, k, v, counts), rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(0, 81), min_size=1, max_size=40).filter(any))
def test_every_frame_fits_the_seat_of_its_rank(counts: list[int]) -> None:
    sizes = seats(sum(counts), len(counts), 81)
    assert all(count <= size for count, size in zip(sorted(counts, reverse=True), sizes, strict=True))
    assert sizes == sorted(sizes, reverse=True)


def test_packing_has_a_gradient() -> None:
    q = torch.randn(18, CHANNELS, requires_grad=True)
    packed_attention(q, q, q, torch.tensor([0, 1]), 2, GROUPS, HEADS).sum().backward()
    assert q.grad is not None
    assert q.grad.abs().sum() > 0
