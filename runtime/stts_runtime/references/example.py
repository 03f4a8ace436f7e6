"""Inputs that take little room: frames of one colour a patch under a fixed texture, and features of a frame before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stts_runtime.references.signs import signs

TEXTURE = 24
"""Levels that the texture adds to a colour or takes from it."""


def enlarge(colours: NDArray[np.uint8], patch_size: int) -> NDArray[np.uint8]:
    """Colours (T, grid, grid, 3) -> RGB frames (T, S, S, 3), every patch a colour.

    Pixels of a patch differ by a texture that all patches share: without it no check would notice that pixels of a
    patch were read in another order.
    """
    frames, grid, _, _ = colours.shape
    side = grid * patch_size
    texture = np.tile(TEXTURE * signs("texture", (patch_size, patch_size, 3)), (grid, grid, 1))
    pixels = np.empty((frames, side, side, 3), dtype=np.uint8)
    for number, colour in enumerate(colours):
        flat = colour.repeat(patch_size, axis=0).repeat(patch_size, axis=1)
        pixels[number] = np.clip(flat + texture, 0, 255)
    return pixels


def example_features(groups: int, width: int) -> NDArray[np.float32]:
    """What a live graph is given as `previous`, (groups, width): as long as normalised features are."""
    return signs("previous", (groups, width))
