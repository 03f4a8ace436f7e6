"""What transformers' own Molmo2 takes for a video, as its processor makes it."""

from __future__ import annotations

import torch
from torch import Tensor

from stts_export.modules.config import ModelConfig, VisionConfig


def molmo2_inputs(model: ModelConfig, frames: Tensor, prompt: Tensor) -> dict[str, Tensor]:
    """Frames (T, H, W, 3) uint8 and the prompt's token numbers (L,) int64 -> arguments of its `forward` by name.

    Patches are row-major, and for every visual token stand the patches that it pools. All of it is on the device
    that the frames are on.
    """
    config, count, device = model.vision, len(frames), frames.device
    side = config.groups_per_side
    offsets = torch.arange(count, device=device)[:, None, None] * config.patches
    ids = prompt.to(device).unsqueeze(0)
    inputs = {
        "input_ids": ids,
        "pixel_values_videos": _patches(frames, config),
        "video_token_pooling": (_windows(config).to(device)[None] + offsets).reshape(-1, config.patches_per_group),
        "video_grids": torch.tensor([[count, side, side]], device=device),
    }
    # It makes image tokens see each other in both directions, which not every configuration wants.
    if not model.text.two_way_images:
        return inputs
    marks = torch.tensor([model.markers.image_patch, model.markers.frame_start, model.markers.frame_end], device=device)
    return {**inputs, "mm_token_type_ids": torch.isin(ids, marks).long()}


def _patches(frames: Tensor, config: VisionConfig) -> Tensor:
    grid, pixel = config.grid, frames.shape[1] // config.grid
    scaled = (frames.float() / 255 - 0.5) / 0.5
    tiles = scaled.reshape(len(frames), grid, pixel, grid, pixel, 3).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(len(frames), config.patches, config.patch_values)


def _windows(config: VisionConfig) -> Tensor:
    side, pool = config.groups_per_side, config.pool
    numbers = torch.arange(config.patches).reshape(side, pool, side, pool)
    return numbers.permute(0, 2, 1, 3).reshape(config.groups, config.patches_per_group)
