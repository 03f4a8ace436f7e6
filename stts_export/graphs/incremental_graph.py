"""The vision graph of frames of streams: a frame and the features of the one before in, this one's out.

One frame, or several that go through together, each of another stream.
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.example_frames import example_frames
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import Lowering
from stts_export.modules.incremental import see_frames
from stts_export.modules.vision import Vision
from stts_runtime.budget import IncrementalBudget
from stts_runtime.bundle.contract import FRAME_INPUTS, FRAME_OUTPUTS
from stts_runtime.references.example import example_features


class IncrementalGraph(nn.Module):
    """`see_frames` at one budget, as tensors in and tensors out."""

    def __init__(self, vision: Vision, budget: IncrementalBudget) -> None:
        super().__init__()
        self.vision, self.budget = vision, budget

    def forward(self, frames: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        return tuple(see_frames(self.vision, self.budget, frames, previous))


def example_call(vision: Vision, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Frames (B, H, W, 3) uint8, and features (B x G, F) of the length that normalised ones have."""
    config, scorer = vision.config.vision, vision.config.scorer
    assert scorer is not None
    previous = torch.from_numpy(example_features(batch * config.groups, scorer.feature_width(config)))
    is_half = scorer.feature_precision == "fp16"
    return torch.from_numpy(example_frames(vision, batch)), previous.half() if is_half else previous


def export_incremental(vision: Vision, budget: IncrementalBudget, lowering: Lowering, batch: int = 1) -> ir.Model:
    """The graph of `batch` frames for `budget`; its weights carry their names in `vision.state_dict()`."""
    model = to_onnx(
        IncrementalGraph(vision, budget), example_call(vision, batch), FRAME_INPUTS, FRAME_OUTPUTS, lowering
    )
    model.graph.name = budget.name
    return model
