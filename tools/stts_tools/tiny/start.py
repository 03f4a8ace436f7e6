"""A run from nothing: untrained modules of one of our sizes, and the tokenizer of the clips' questions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stts_export.modules.config import ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.training.loop import Run
from stts_export.training.recipe import Recipe
from stts_tools.checkpoints.sizes import Size, model_config
from stts_tools.tiny.recipe import PRUNE_FRACTION
from stts_tools.tiny.vocabulary import learned_tokenizer

_EMBEDDING = 0.5
"""Standard deviation of embeddings and amplitude of positions, of the order of what a patch becomes."""


def start_run(recipe: Recipe, size: Size, device: str, workers: int, fuse: bool = False) -> Run:
    """The run that makes a checkpoint of this size."""
    tokenizer = learned_tokenizer()
    vision, language = fresh_modules(model_config(size, tokenizer, PRUNE_FRACTION), recipe.seed)
    return Run(recipe, vision, language, tokenizer, device, workers, fuse)


def fresh_modules(config: ModelConfig, seed: int) -> tuple[Vision, Language]:
    """Modules ready for training, float32."""
    torch.manual_seed(seed)
    vision, language = Vision(config), Language(config.text, config.markers)
    depths = {"vision_tower": config.vision.layers, "language_model": config.text.layers}
    for module in (vision, language):
        for name, weight in module.named_parameters():
            _start(name, weight, depths.get(name.partition(".")[0], 1))
    with torch.no_grad():
        vision.vision_tower.positional_embedding.copy_(_waves(config.vision.grid, config.vision.width) * _EMBEDDING)
    return vision, language


def _start(name: str, weight: nn.Parameter, depth: int) -> None:
    """Norms start at one, biases at zero; what is added to the residual stream starts small."""
    if weight.ndim == 1:
        nn.init.constant_(weight, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
    elif "embed_tokens" in name:
        nn.init.normal_(weight, std=_EMBEDDING)
    else:
        closing = ".layers." in name and name.endswith(("o_proj.weight", "fc2.weight", "down_proj.weight"))
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5 / (math.sqrt(2 * depth) if closing else 1))


def _waves(grid: int, width: int) -> Tensor:
    """Sines and cosines of row and column, (grid x grid, width): neighbours start out alike."""
    quarter = width // 4
    frequency = math.pi * 2 ** (torch.arange(quarter) * (math.log2(grid) / quarter)) / grid
    angle = torch.arange(grid)[:, None] * frequency
    wave = torch.cat((angle.sin(), angle.cos()), dim=1)
    rows, columns = wave.repeat_interleave(grid, dim=0), wave.repeat(grid, 1)
    waves = torch.zeros(grid * grid, width)
    waves[:, : 4 * quarter] = torch.cat((rows, columns), dim=1)
    return waves
