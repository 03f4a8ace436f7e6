"""The layouts that checkpoints come in: what describes the model, and which files hold its weights.

`huggingface`: config.json, safetensors, tokenizer and processor settings. `training`: config.yaml with model.pt, or
with model_and_optim/; a tokenizer is not next to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stts_export.checkpoint.distributed_files import DistributedFiles
from stts_export.checkpoint.safetensors_files import SafetensorsFiles
from stts_export.checkpoint.tokenizer import TOKENIZER, read_tokenizer
from stts_export.checkpoint.torch_file import TorchFile
from stts_export.checkpoint.weight_source import WeightSource
from stts_export.errors import CheckpointError
from stts_export.json_files import read_json
from stts_export.molmo2.hf_config import HfConfig
from stts_export.molmo2.marks import mark_ids
from stts_export.molmo2.processor import VideoProcessor, read_processor
from stts_export.molmo2.training_file import read_training_config
from stts_runtime.handed_over import check_is_content, no_checkpoint, packed
from stts_runtime.hub_id import instead_of_folder
from stts_runtime.places import check_folder, is_there, shown
from stts_runtime.settings import first_problem

HUGGING_FACE = "config.json"
TRAINING = "config.yaml"
TORCH_FILE = "model.pt"
SHARDS = "model_and_optim"


@dataclass(frozen=True)
class Layout:
    """A checkpoint but for its weights, which need not be there: found and described, whatever the files are called."""

    folder: Path
    config: Path
    """The file that describes the model."""
    hf_config: HfConfig
    processor: VideoProcessor
    tokenizer: Path
    """The folder with tokenizer.json and its settings."""
    config_sha256: str

    def weights(self) -> WeightSource:
        """Raises `CheckpointError` if weights are missing or damaged."""
        if self.config.name == HUGGING_FACE:
            return SafetensorsFiles(self.folder)
        return _training_files(self.folder)


def find_layout(folder: Path, tokenizer: Path | None) -> Layout:
    """`tokenizer`, a folder or its tokenizer.json, is for checkpoints next to which none lies.

    Raises `CheckpointError` if the folder is of no known layout, or some of what describes it is missing or wrong.
    """
    if not is_there(folder, CheckpointError):
        raise CheckpointError(f"no such folder: {shown(folder)}{instead_of_folder(folder)}")
    if folder.is_file() and (what := packed(folder)):
        raise CheckpointError(f"{shown(folder)} is a file, and a checkpoint is a folder: {what}")
    check_folder(folder, CheckpointError, "a checkpoint, which is a folder")
    if is_there(folder / HUGGING_FACE, CheckpointError):
        return _hugging_face(folder, _tokenizer_folder(folder, tokenizer))
    if is_there(folder / TRAINING, CheckpointError):
        return _training(folder, _tokenizer_folder(folder, tokenizer))
    what = no_checkpoint(folder)
    raise CheckpointError(
        f"{folder} is not a checkpoint: it holds neither {HUGGING_FACE} nor {TRAINING}{'; ' if what else ''}{what}"
    )


def _tokenizer_folder(folder: Path, given: Path | None) -> Path:
    if given is None:
        if not (folder / TOKENIZER).exists():
            raise CheckpointError(
                f"{folder} holds no {TOKENIZER}: write the checkpoint with one next to it, "
                "`stts-export import CHECKPOINT --out OUT --tokenizer FOLDER`; take that of the Molmo2 it was made from"
            )
        return folder
    home = given.parent if given.name == TOKENIZER else given
    check_folder(home, CheckpointError, "a folder with tokenizer.json")
    if not is_there(home / TOKENIZER, CheckpointError):
        raise CheckpointError(f"--tokenizer {given}: there is no {TOKENIZER}")
    return home


def _hugging_face(folder: Path, tokenizer: Path) -> Layout:
    path = folder / HUGGING_FACE
    return Layout(folder, path, read_json(path, HfConfig), read_processor(folder), tokenizer, _sha256(path))


def _training(folder: Path, tokenizer: Path) -> Layout:
    path = folder / TRAINING
    config = read_training_config(path)
    try:
        hf_config = HfConfig.model_validate(config.as_config_json(mark_ids(read_tokenizer(tokenizer))))
        processor = VideoProcessor.model_validate(config.as_video_processor())
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_problem(error)}") from None
    _check_marks(hf_config, tokenizer)
    return Layout(folder, path, hf_config, processor, tokenizer, _sha256(path))


def _training_files(folder: Path) -> WeightSource:
    if (folder / TORCH_FILE).is_file():
        check_is_content(folder / TORCH_FILE, CheckpointError)
        return TorchFile(folder / TORCH_FILE)
    if (folder / SHARDS).is_dir():
        return DistributedFiles(folder / SHARDS)
    raise CheckpointError(f"{folder} holds no weights: neither {TORCH_FILE} nor {SHARDS}/ is there")


def _check_marks(config: HfConfig, tokenizer: Path) -> None:
    """A tokenizer of another base model numbers the marks differently, and then the embedding's rows are not theirs."""
    first = config.text.vocab_size
    last = first + config.text.additional_vocab_size - 1
    if not first <= config.image_patch_id <= last:
        raise CheckpointError(
            f"{tokenizer / TOKENIZER} numbers <im_patch> {config.image_patch_id}, and this checkpoint's marks are "
            f"{first} to {last}: it is another model's tokenizer"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
