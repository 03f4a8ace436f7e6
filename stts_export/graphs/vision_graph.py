"""The vision graph of one budget: uint8 frames in, visual tokens, scores and kept groups out, all shapes constant."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.example_frames import example_frames
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import Lowering
from stts_export.modules.vision import Vision, VisionTensors
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.contract import vision_inputs, vision_outputs


class VisionGraph(nn.Module):
    """`Vision` at one budget, as tensors in and tensors out."""

    def __init__(self, vision: Vision, budget: TokenBudget) -> None:
        super().__init__()
        self.vision, self.budget = vision, budget

    def forward(self, frames_THWC: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        tensors: VisionTensors = self.vision(frames_THWC, self.budget, *given)
        return tuple(tensor for tensor in tensors[: len(output_names(self.budget))] if tensor is not None)


def input_names(budget: TokenBudget) -> list[str]:
    return vision_inputs(is_control=budget.scope == "given")


def output_names(budget: TokenBudget) -> list[str]:
    return vision_outputs(is_pruned=budget.keep < 1, is_control=budget.scope == "given")


def example_call(vision: Vision, budget: TokenBudget) -> tuple[Tensor, ...]:
    """Frames (T, H, W, 3) uint8, and for a control (K,) groups to keep; always the same."""
    frames = torch.from_numpy(example_frames(vision, budget.frames))
    if budget.scope != "given":
        return (frames,)
    shuffled = torch.randperm(budget.visual_tokens, generator=torch.Generator().manual_seed(0))
    return frames, shuffled[: budget.kept].sort().values


def export_vision(vision: Vision, budget: TokenBudget, lowering: Lowering) -> ir.Model:
    """The graph for `budget`; its weights carry their names in `vision.state_dict()`."""
    graph = VisionGraph(vision, budget)
    model = to_onnx(graph, example_call(vision, budget), input_names(budget), output_names(budget), lowering)
    model.graph.name = budget.name
    return model
