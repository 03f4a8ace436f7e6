"""Refill does what the reference does: frames alone in their row keep everything, the others their choice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.checkpoint import open_checkpoint
from stts_export.modules.projection import Projection
from stts_export.modules.refill import refilled_frames, with_refill
from stts_export.modules.vision import Vision
from stts_export.modules.vit import patches_of_frames
from stts_runtime.budget import TokenBudget


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([9, 5, 4, 3], [3]),
        ([9, 9, 9], []),
        ([9, 6, 6, 6], [1, 2, 3]),
        ([9, 3, 3, 3], []),
        ([9, 0, 8, 1], []),
        ([9, 0, 8], [2]),
        ([5, 5, 4], [1]),
    ],
)
def test_frames_alone_in_their_row(counts: list[int], expected: list[int]) -> None:
    assert refilled_frames(torch.tensor(counts), 9) == expected


def test_what_stays_is_the_choice_and_the_refilled_frames() -> None:
    kept = torch.tensor([0, 1, 2, 3, 5, 8, 9, 10])
    # Frames of 4 groups keep 4, 1 and 3: the last two fit one row.
    assert with_refill(kept, 3, 4).tolist() == kept.tolist()
    kept = torch.tensor([0, 1, 2, 3, 4, 5, 8, 9, 10])
    # 4, 2 and 3: each alone.
    assert with_refill(kept, 3, 4).tolist() == list(range(12))


def by_hand(vision: Vision, frames: Tensor, budget: TokenBudget, kept: Tensor) -> Tensor:
    """The layers behind the cut, frame by frame with plain attention -> visual tokens of the kept groups."""
    config, scorer = vision.config.vision, vision.config.scorer
    assert scorer is not None
    patches = patches_of_frames(frames, config).unsqueeze(0)
    cut = scorer.prune_at + 1
    x = vision.hidden(patches, budget, frozenset((cut,))).by_layer[cut].unflatten(0, (budget.frames, -1))
    counts = torch.bincount(kept // budget.groups, minlength=budget.frames)
    refilled = refilled_frames(counts, budget.groups)

    def attend(projection: Projection) -> Tensor:
        q, k, v = projection.project()
        return plain(q, k, v, config.heads)

    outputs: dict[int, list[Tensor]] = {layer: [] for layer in config.feature_layers}
    for frame in range(budget.frames):
        chosen = kept[kept // budget.groups == frame] % budget.groups
        rows = (chosen[:, None] * 9 + torch.arange(9)).flatten()
        here = x[frame] if frame in refilled else x[frame][rows]
        if cut in outputs:
            outputs[cut].append(x[frame][rows])
        for number in range(cut + 1, config.layers):
            here = vision.vision_tower.layers[number](here, attend)
            if number in outputs:
                outputs[number].append(here[rows] if frame in refilled else here)
    features = torch.cat([torch.cat(outputs[layer]) for layer in config.feature_layers], dim=-1)
    tokens: Tensor = vision.multi_modal_projector(features)
    return tokens


def plain(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    if len(q) == 0:
        return q
    by_head = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))
    return F.scaled_dot_product_attention(*by_head).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("seed", range(4))
def test_features_with_refill_are_those_of_frames_run_alone(micro_checkpoint: Path, seed: int) -> None:
    vision = open_checkpoint(micro_checkpoint).load().vision
    budget = TokenBudget(6, 4, 0.7)
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (6, 84, 84, 3), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        without, refilled = vision(frames, budget), vision(frames, budget, refill=True)
        assert without.kept_K is not None
        assert refilled.kept_K is not None
        assert torch.equal(without.kept_K, refilled.kept_K)
        expected = by_hand(vision, frames, budget, without.kept_K)
    counts = torch.bincount(without.kept_K // 4, minlength=6)
    assert refilled_frames(counts, 4), "nothing is refilled, so nothing is tested"
    torch.testing.assert_close(refilled.visual_tokens_KW, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(refilled.visual_tokens_KW, without.visual_tokens_KW, atol=1e-4)
