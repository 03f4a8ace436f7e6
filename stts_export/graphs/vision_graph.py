"""The vision graph of one budget: uint8 frames in, visual tokens, scores and kept groups out, all shapes constant."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor, nn

from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import Lowering
from stts_export.modules.vision import Vision, VisionTensors
from stts_runtime.budget import TokenBudget


class VisionGraph(nn.Module):
    """`Vision` at one budget, as tensors in and tensors out."""

    def __init__(self, vision: Vision, budget: TokenBudget) -> None:
        super().__init__()
        self.vision, self.budget = vision, budget

    def forward(self, frames_THWC: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        tensors: VisionTensors = self.vision(frames_THWC, self.budget, *given)
        return tuple(tensor for tensor in tensors[: len(output_names(self.budget))] if tensor is not None)


def input_names(budget: TokenBudget) -> list[str]:
    return ["frames", "kept_groups"] if budget.scope == "given" else ["frames"]


def output_names(budget: TokenBudget) -> list[str]:
    if budget.keep == 1:
        return ["visual_tokens"]
    return ["visual_tokens", "scores"] if budget.scope == "given" else ["visual_tokens", "scores", "kept_groups"]


def example_call(vision: Vision, budget: TokenBudget, seed: int = 0) -> tuple[Tensor, ...]:
    """Seeded random inputs: frames (T, H, W, 3) uint8, and for a control (K,) groups to keep."""
    frames = example_frames(vision, budget, seed)
    if budget.scope != "given":
        return (frames,)
    shuffled = torch.randperm(budget.visual_tokens, generator=torch.Generator().manual_seed(seed))
    return frames, shuffled[: budget.kept].sort().values


def example_frames(vision: Vision, budget: TokenBudget, seed: int = 0) -> Tensor:
    """Blocks of colour under noise, different in every frame: (T, H, W, 3) uint8."""
    config = vision.config.vision
    generator = torch.Generator().manual_seed(seed)
    size = config.grid * round((config.patch_values / 3) ** 0.5)
    coarse = torch.rand(budget.frames, 3, 8, 8, generator=generator)
    frames = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").permute(0, 2, 3, 1)
    noise = torch.randn(frames.shape, generator=generator) * 0.1
    return ((frames + noise).clamp(0, 1) * 255).to(torch.uint8)


def export_vision(vision: Vision, budget: TokenBudget, lowering: Lowering) -> ir.Model:
    """The graph for `budget`; its weights carry their names in `vision.state_dict()`."""
    graph = VisionGraph(vision, budget)
    model = to_onnx(graph, example_call(vision, budget), input_names(budget), output_names(budget), lowering)
    model.graph.name = budget.name
    return model
