"""Seeded random checkpoints in the Hugging Face layout: for tests, and for trying speed before a download.

Their answers are noise, which `config.json` says so that everything downstream can say it too.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from stts_export.checkpoint.lazy_weights import placeholder
from stts_export.checkpoint.write import files_beside, write_checkpoint
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import POOL, Size, model_config


def write_random_checkpoint(out: Path, size: Size, seed: int, prune_fraction: float | None = 0.5) -> None:
    """Writes a checkpoint folder; `prune_fraction` None leaves out scorer and settings, as in a plain Molmo2."""
    tokenizer = byte_level_tokenizer(size.vocab)
    model = model_config(size, tokenizer, prune_fraction)
    with torch.device("meta"):
        shapes = {**Vision(model).state_dict(), **Language(model.text, model.markers).state_dict()}
    like = {name: placeholder(tensor.shape, torch.float16) for name, tensor in shapes.items()}
    config = config_json(model, mark_ids(tokenizer), "float16", "original", random_weights=True)
    files = files_beside(tokenizer, POOL)
    write_checkpoint(out, config, like, lambda name: _random(name, shapes[name].shape, seed), files)


def _random(name: str, shape: torch.Size, seed: int) -> Tensor:
    """The same for the same name and seed, whatever else is drawn."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    noise: Tensor = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight") or ".layer_norm" in name or "layernorm" in name:
        return noise * 0.1 + (0.0 if name.endswith("bias") else 1.0)
    if len(shape) == 2 and "embed" not in name:
        return noise / math.sqrt(shape[1])
    return noise * 0.1
