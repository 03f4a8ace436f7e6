"""Exact packing equals attention over every frame alone, however the kept groups fall."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stts_export.modules.operators import attention
from stts_export.modules.packing import batches, packed_attention
from stts_export.modules.wide_heads import packed_in_wide_heads

GROUPS, PATCHES, HEADS, CHANNELS = 12, 9, 2, 8


def frame_by_frame(q: Tensor, k: Tensor, v: Tensor, counts: list[int]) -> Tensor:
    parts = zip(*(x.split([count * PATCHES for count in counts]) for x in (q, k, v)), strict=True)
    attended = [attention(*(x.unsqueeze(0) for x in part), HEADS)[0] for part in parts if len(part[0])]
    return torch.cat(attended)


@given(st.lists(st.integers(0, GROUPS), min_size=1, max_size=8).filter(any), st.integers(0, 2**31), st.integers(1, 5))
@example([12, 0, 0, 1], 0, 2)  # frames with nothing kept
@example([12, 12, 12], 0, 5)  # nothing dropped
@example([0, 0, 5], 0, 1)  # first frames empty
@example([0, 0, 0, 2], 0, 1)  # fewer groups than frames
@example([1] * 8, 0, 2)
@settings(deadline=None, max_examples=60)
def test_packing_equals_frame_by_frame_attention(counts: list[int], seed: int, sizes: int) -> None:
    kept = sum(counts)
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(kept * PATCHES, CHANNELS, generator=generator) for _ in range(3))
    frame = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    wanted = frame_by_frame(q, k, v, counts)
    packed = packed_attention(q, k, v, frame, len(counts), GROUPS, HEADS)
    torch.testing.assert_close(packed, wanted, rtol=1e-5, atol=1e-6)

    # Rows whose projections are these queries, keys and values.
    rows, (to_q, to_k, to_v) = torch.cat((q, k, v), dim=1), torch.eye(3 * CHANNELS).chunk(3)
    wide = packed_in_wide_heads(
        rows, to_q, torch.zeros(CHANNELS), to_k, to_v, frame, len(counts), GROUPS, HEADS, spare=8, sizes=sizes
    )
    torch.testing.assert_close(wide, wanted, rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(0, 81), min_size=1, max_size=40).filter(any), st.integers(1, 6))
def test_every_frame_fits_the_seat_of_its_rank(counts: list[int], sizes: int) -> None:
    seats = batches(sum(counts), len(counts), 81, sizes)
    assert len(seats) <= sizes
    of_rank = [size for size, ranks in seats for _ in range(ranks)]
    fullest = sorted(counts, reverse=True)
    assert not any(fullest[len(of_rank) :]), "a frame without a seat is empty"
    assert all(count <= size for count, size in zip(fullest, of_rank, strict=False))


@pytest.mark.parametrize(("sizes", "cost"), [(1, 1.0), (2, 0.84), (3, 0.80), (5, 0.773)])
def test_seats_waste_as_little_as_so_many_sizes_allow(sizes: int, cost: float) -> None:
    """64 frames at keep 0.5; the figures are those of a simulation of its own."""
    seats = batches(2592, 64, 81, sizes)
    assert sum(size**2 * ranks for size, ranks in seats) / (64 * 81**2) == pytest.approx(cost, abs=0.002)


def test_equal_bounds_make_one_batch() -> None:
    assert batches(8 * 81, 8, 81, 3) == [(81, 8)]


def test_packing_has_a_gradient() -> None:
    q = torch.randn(18, CHANNELS, requires_grad=True)
    packed_attention(q, q, q, torch.tensor([0, 1]), 2, GROUPS, HEADS).sum().backward()
    assert q.grad is not None
    assert q.grad.abs().sum() > 0
