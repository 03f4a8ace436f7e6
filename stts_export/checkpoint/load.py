"""A checkpoint folder -> the model's shape, its weights in our modules, and its text side."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from stts_export.checkpoint.hf_config import HfConfig
from stts_export.checkpoint.names import own_name
from stts_export.checkpoint.tokenizer import TextSide, read_text_side
from stts_export.checkpoint.weight_files import WeightFiles
from stts_export.checkpoint.weights import checked, stored_weights
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.errors import UserError

# torch, ONNX Runtime and one piece of a graph under check.
_WORKING_BYTES = 1_500_000_000
_SCORER_WIDTH_FROM = "temporal_token_scorer.mlp.w1.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, weights in float32."""

    path: Path
    config: ModelConfig
    hf_config: HfConfig
    text: TextSide
    vision: Vision
    language: Language
    max_fps: float
    config_sha256: str
    notes: list[str] = field(default_factory=list)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a Hugging Face directory. Raises `CheckpointError` with what is wrong and where."""
    config_path = folder / "config.json"
    if not folder.exists():
        raise CheckpointError(f"no such folder: {folder}")
    if not config_path.is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it holds no config.json")
    hf_config = HfConfig.read(config_path)
    files = WeightFiles(folder)
    processor = _video_processor(folder)
    config = hf_config.model_config_with(_pool(processor), _scorer_width(files))
    text = read_text_side(folder, config.markers)
    _check_memory(files)
    vision, language, notes = _modules(files, config)
    return Checkpoint(
        path=folder,
        config=config,
        hf_config=hf_config,
        text=text,
        vision=vision,
        language=language,
        max_fps=float(processor.get("max_fps", 2)),
        config_sha256=hashlib.sha256(config_path.read_bytes()).hexdigest(),
        notes=notes,
    )


def _modules(files: WeightFiles, config: ModelConfig) -> tuple[Vision, Language, list[str]]:
    found = stored_weights(files, config)
    with torch.device("meta"):
        vision, language = Vision(config), Language(config.text, config.markers)
    wanted = {**vision.state_dict(), **language.state_dict()}
    _, notes = checked(found, wanted, config)
    for module in (vision, language):
        _fill(module, {name: found[name].read().to(torch.float32) for name in module.state_dict()})
    return vision.eval(), language.eval(), notes


def _check_memory(files: WeightFiles) -> None:
    """Raises `UserError` before a build that would be killed for memory."""
    needed = 4 * files.values() + _WORKING_BYTES
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"the build needs about {needed / 1e9:.1f} GB of memory for float32 weights and {free / 1e9:.1f} GB are "
            "free; close other programs, add swap, or build on a larger machine"
        )


def _fill(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(False)


def _scorer_width(files: WeightFiles) -> int | None:
    """Rows of the scorer's first linear layer; None where the checkpoint has no scorer."""
    for stored in files:
        if own_name(stored) == _SCORER_WIDTH_FROM:
            return files.shape(stored)[0]
    return None


def _video_processor(folder: Path) -> dict[str, Any]:
    """Settings of the video processor; newer checkpoints keep them inside `processor_config.json`."""
    for name, key in (("video_preprocessor_config.json", None), ("processor_config.json", "video_processor")):
        path = folder / name
        if not path.exists():
            continue
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise CheckpointError(f"{path} is not JSON: {error}") from None
        section = content.get(key) if key else content
        if isinstance(section, dict):
            return section
    return {}


def _pool(processor: dict[str, Any]) -> int:
    size = processor.get("pooling_size", [3, 3])
    if not isinstance(size, list) or len(size) != 2 or size[0] != size[1] or not isinstance(size[0], int):
        raise CheckpointError(f"the video processor's pooling_size is {size}; only square windows are supported")
    return size[0]
