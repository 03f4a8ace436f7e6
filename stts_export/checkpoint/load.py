"""A checkpoint folder -> the model's shape and its text side at once, and its weights in our modules when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from stts_export.checkpoint.hf_config import HfConfig
from stts_export.checkpoint.json_files import Section, read_json, read_optional_json
from stts_export.checkpoint.names import own_name
from stts_export.checkpoint.streaming import Read, hold_small_weights
from stts_export.checkpoint.tokenizer import TextSide, read_text_side
from stts_export.checkpoint.weight_files import WeightFiles
from stts_export.checkpoint.weights import checked, stored_weights
from stts_export.errors import CheckpointError
from stts_export.modules.config import ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision

_SCORER = "temporal_token_scorer."
_SCORER_WIDTH_FROM = f"{_SCORER}mlp.w1.weight"


class VideoProcessor(Section):
    """What is read of the video processor's settings."""

    pooling_size: tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]] = (3, 3)
    max_fps: Annotated[float, Field(gt=0, le=1000)] = 2.0


class Processor(Section):
    """Newer checkpoints keep the video processor inside `processor_config.json`."""

    video_processor: VideoProcessor = VideoProcessor()


@dataclass(frozen=True)
class Modules:
    """The weights of a checkpoint in our modules, float32, and what was ignored on the way."""

    vision: Vision
    language: Language
    notes: list[str]


@dataclass(frozen=True)
class StreamedModules(Modules):
    """Modules that hold small weights and placeholders (`streaming`); `read` has every weight by its name."""

    read: Read


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose description has been read; `load` reads the weights."""

    path: Path
    config: ModelConfig
    hf_config: HfConfig
    text: TextSide
    max_fps: float
    config_sha256: str
    files: WeightFiles

    def load(self) -> Modules:
        """Raises `CheckpointError` unless the weights fit the configuration whole and exactly."""
        streamed = self.stream()
        for module in (streamed.vision, streamed.language):
            module.load_state_dict({name: streamed.read(name) for name in module.state_dict()}, assign=True)
            module.requires_grad_(False)
        return Modules(streamed.vision, streamed.language, streamed.notes)

    def stream(self) -> StreamedModules:
        """The same, but large weights stay in the files until they are asked for."""
        found = stored_weights(self.files, self.config)
        with torch.device("meta"):
            vision, language = Vision(self.config), Language(self.config.text, self.config.markers)
        notes = checked(found, {**vision.state_dict(), **language.state_dict()}, self.config)

        def read(name: str) -> Tensor:
            return found[name].read()

        for module in (vision, language):
            hold_small_weights(module.eval(), read)
        return StreamedModules(vision, language, notes, read)


def open_checkpoint(folder: Path) -> Checkpoint:
    """Reads a Hugging Face directory but for its weights. Raises `CheckpointError` with what is wrong and where."""
    config_path = folder / "config.json"
    if not folder.exists():
        raise CheckpointError(f"no such folder: {folder}")
    if not config_path.is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it holds no config.json")
    hf_config = read_json(config_path, HfConfig)
    files = WeightFiles(folder)
    processor = _video_processor(folder)
    config = hf_config.model_config_with(_pool(processor), _scorer_width(files))
    return Checkpoint(
        path=folder,
        config=config,
        hf_config=hf_config,
        text=read_text_side(folder, config.markers),
        max_fps=processor.max_fps,
        config_sha256=hashlib.sha256(config_path.read_bytes()).hexdigest(),
        files=files,
    )


def _scorer_width(files: WeightFiles) -> int | None:
    """Rows of the scorer's first linear layer; None where the checkpoint has no scorer."""
    stored = {own_name(name): name for name in files}
    if not any(name.startswith(_SCORER) for name in stored):
        return None
    if _SCORER_WIDTH_FROM not in stored or len(shape := files.shape(stored[_SCORER_WIDTH_FROM])) != 2:
        raise CheckpointError(f"the checkpoint has a scorer, but its {_SCORER_WIDTH_FROM} is missing or no matrix")
    return shape[0]


def _video_processor(folder: Path) -> VideoProcessor:
    older = folder / "video_preprocessor_config.json"
    if older.exists():
        return read_json(older, VideoProcessor)
    return read_optional_json(folder / "processor_config.json", Processor).video_processor


def _pool(processor: VideoProcessor) -> int:
    height, width = processor.pooling_size
    if height != width:
        raise CheckpointError(f"the video processor pools {height}x{width} patches; only square windows are supported")
    return height
