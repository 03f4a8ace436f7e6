"""Made-up frames, always the same, small enough to be stored in a bundle: a colour a patch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_export.modules.config import VisionConfig
from stts_export.modules.vision import Vision
from stts_runtime.references.example import TEXTURE, enlarge

_BLOCKS = 8
"""A side of the picture under everything, in blocks of one colour."""
_CHANGED = 0.3
"""Share of the blocks that are new in every frame."""
_NOISE = 20.0
"""Levels, of every patch by itself."""
_THING = 0.3
"""A side of what moves, as a share of the picture's."""


def example_frames(vision: Vision, frames: int) -> NDArray[np.uint8]:
    """RGB frames (T, S, S, 3) of the model's size."""
    return enlarge(example_colours(vision.config.vision, frames), vision.config.vision.patch_size)


def example_colours(config: VisionConfig, frames: int) -> NDArray[np.uint8]:
    """Blocks of which some change, something that moves, and noise: (T, grid, grid, 3).

    Fewer frames are the first of more, so that one array serves windows of every length.
    """
    generator = np.random.default_rng(0)
    grid, thing = config.grid, max(round(_THING * config.grid), 1)
    block_of_patch = np.arange(grid) * _BLOCKS // grid
    blocks = generator.uniform(0, 255, (_BLOCKS, _BLOCKS, 3))
    colours = np.empty((frames, grid, grid, 3), dtype=np.uint8)
    for number in range(frames):
        changed = generator.random((_BLOCKS, _BLOCKS)) < _CHANGED
        blocks = np.where(changed[:, :, None], generator.uniform(0, 255, blocks.shape), blocks)
        picture = blocks[block_of_patch][:, block_of_patch]
        row, column = number * 2 % (grid - thing + 1), number * 3 % (grid - thing + 1)
        picture[row : row + thing, column : column + thing] = (255, 160, 0)
        picture += generator.normal(0, _NOISE, picture.shape)
        colours[number] = np.clip(picture, TEXTURE, 255 - TEXTURE)
    return colours
