"""The vision graph of one frame of a stream: the frame and the features of the one before in, this one's out."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.to_onnx import to_onnx
from stts_export.graphs.vision_graph import example_frames
from stts_export.lowering import Lowering
from stts_export.modules.live import see_frame
from stts_export.modules.vision import Vision
from stts_runtime.budget import LiveBudget, TokenBudget

INPUTS = ["frames", "previous"]
OUTPUTS = ["visual_tokens", "scores", "kept_groups", "pooled", "change"]


class LiveGraph(nn.Module):
    """`see_frame` at one budget, as tensors in and tensors out."""

    def __init__(self, vision: Vision, budget: LiveBudget) -> None:
        super().__init__()
        self.vision, self.budget = vision, budget

    def forward(self, frames: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        return tuple(see_frame(self.vision, self.budget, frames, previous))


def example_call(vision: Vision, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A seeded random frame (1, H, W, 3) uint8, and features (G, D) float32 of the length that normed ones have."""
    frames = example_frames(vision, TokenBudget(1, vision.config.vision.groups, 1.0), seed)
    generator = torch.Generator().manual_seed(seed)
    return frames, torch.randn(vision.config.vision.groups, vision.config.vision.width, generator=generator)


def export_live(vision: Vision, budget: LiveBudget, lowering: Lowering) -> ir.Model:
    """The graph for `budget`; its weights carry their names in `vision.state_dict()`."""
    model = to_onnx(LiveGraph(vision, budget), example_call(vision), INPUTS, OUTPUTS, lowering)
    model.graph.name = budget.name
    return model
