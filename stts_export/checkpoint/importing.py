"""A checkpoint of any layout -> a clean Hugging Face folder, one weight after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import torch

from stts_export.checkpoint.config_json import config_json
from stts_export.checkpoint.hf_config import HfConfig
from stts_export.checkpoint.json_files import read_json
from stts_export.checkpoint.layouts import HUGGING_FACE
from stts_export.checkpoint.load import Checkpoint, open_checkpoint
from stts_export.checkpoint.safetensors_files import INDEX, SINGLE
from stts_export.checkpoint.streaming import placeholder
from stts_export.checkpoint.tokenizer import SETTINGS, TOKENIZER, mark_ids, read_tokenizer
from stts_export.checkpoint.write import VIDEO_PROCESSOR, json_bytes, write_checkpoint
from stts_export.errors import CheckpointError
from stts_runtime.bundle.publish import check_apart, check_free

_OF_TOKENIZER = (
    SETTINGS, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "generation_config.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_OF_PROCESSOR = (VIDEO_PROCESSOR, "processor_config.json", "preprocessor_config.json")

Report = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Weights that were written, and of how many."""


def import_checkpoint(
    source: Path,
    out: Path,
    tokenizer: Path | None = None,
    dtype: torch.dtype | None = None,
    replace: bool = False,
    report: Report = lambda _: None,
    progress: Progress = lambda _done, _of: None,
) -> None:
    """Writes the newer generation's layout, weights in the types that they are stored in, or in `dtype`.

    Raises `CheckpointError` if the checkpoint is not whole, `UserError` if `out` is in the way. Nothing half-written
    stays.
    """
    for read_from in (source, *([tokenizer] if tokenizer else [])):
        check_apart(out, read_from)

    def may_replace(place: Path) -> bool:
        return replace and _is_checkpoint(place)

    check_free(out, may_replace)
    checkpoint = open_checkpoint(source, tokenizer)
    modules = checkpoint.stream()
    for note in modules.notes:
        report(note)
    shapes = {**modules.vision.state_dict(), **modules.language.state_dict()}
    like = {name: placeholder(tensor.shape, dtype or modules.dtypes[name]) for name, tensor in shapes.items()}
    positions = checkpoint.hf_config.stts.positions if checkpoint.hf_config.stts else None
    config = config_json(
        modules.vision.config,
        mark_ids(read_tokenizer(checkpoint.tokenizer)),
        str(like["vision_tower.positional_embedding"].dtype).removeprefix("torch."),
        positions,
        checkpoint.hf_config.random_weights,
    )
    counter = itertools.count(1)

    def read(name: str) -> torch.Tensor:
        progress(next(counter), len(like))
        return modules.read(name)

    write_checkpoint(out, config, like, read, _beside(checkpoint), may_replace)


def _is_checkpoint(place: Path) -> bool:
    """Whether the folder is one of these, and not some other that has a config.json."""
    try:
        read_json(place / HUGGING_FACE, HfConfig)
    except CheckpointError:
        return False
    return any((place / weights).is_file() for weights in (SINGLE, INDEX))


def _beside(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Tokenizer and processor settings as they are; the latter are made where the layout has them elsewhere."""
    files = {TOKENIZER: checkpoint.text.tokenizer}
    for folder, names in ((checkpoint.tokenizer, _OF_TOKENIZER), (checkpoint.path, _OF_PROCESSOR)):
        files |= {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    if not files.keys() & set(_OF_PROCESSOR):
        pool = checkpoint.config.vision.pool
        files[VIDEO_PROCESSOR] = json_bytes({"pooling_size": [pool, pool], "max_fps": checkpoint.max_fps})
    return files
