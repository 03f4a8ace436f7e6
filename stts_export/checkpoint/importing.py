"""A checkpoint of any layout -> a clean Hugging Face folder, one weight after the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace as replace_in
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from stts_export.checkpoint.adapted_files import AdaptedFiles
from stts_export.checkpoint.adapter import Adapter, open_adapter
from stts_export.checkpoint.lazy_weights import placeholder
from stts_export.checkpoint.load import Checkpoint, LazyModules, open_checkpoint
from stts_export.checkpoint.tokenizer import BESIDE_TOKENIZER, TOKENIZER, read_tokenizer
from stts_export.checkpoint.write import json_bytes, replaceable_checkpoint, write_checkpoint
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_export.molmo2.processor import OF_PROCESSOR, VIDEO_PROCESSOR, processor_json
from stts_runtime.bundle.publish import check_apart, check_free
from stts_runtime.tell import TellStep, tell_nobody


def import_checkpoint(
    source: Path,
    out: Path,
    tokenizer: Path | None = None,
    dtype: torch.dtype | None = None,
    replace: bool = False,
    tell: TellStep = tell_nobody,
    adapter: Path | None = None,
) -> list[str]:
    """Writes the newer generation's layout, weights in the types that they are stored in, or in `dtype`, with the
    LoRA `adapter` merged into them in float32.

    Returns what there is to note about the checkpoint. Raises `CheckpointError` if it is not whole, `UserError` if
    `out` is in the way. Nothing half-written stays.
    """
    for read_from in (source, tokenizer, adapter):
        if read_from is not None:
            check_apart(out, read_from)
    replaceable = replaceable_checkpoint(replace)
    check_free(out, replaceable)
    # Before anything is downloaded.
    opened = None if adapter is None else open_adapter(adapter)
    checkpoint = open_checkpoint(source, tokenizer, tell)
    notes: list[str] = []
    if opened is not None:
        checkpoint, notes = _adapted(checkpoint, opened)
    modules = checkpoint.lazy()
    notes += modules.notes
    for note in notes:
        tell(f"note: {note}")
    shapes = {**modules.vision.state_dict(), **modules.language.state_dict()}
    like = {name: placeholder(tensor.shape, dtype or modules.dtypes[name]) for name, tensor in shapes.items()}
    counter = itertools.count(1)

    def read(name: str) -> Tensor:
        tell("writing weights", next(counter), len(like))
        return modules.read(name)

    write_checkpoint(out, _config(checkpoint, modules, like), like, read, files_of(checkpoint), replaceable)
    return notes


def _adapted(checkpoint: Checkpoint, adapter: Adapter) -> tuple[Checkpoint, list[str]]:
    """With what there is to note about it."""
    files = AdaptedFiles(checkpoint.files, adapter, checkpoint.config.text)
    notes = [f"merged {adapter.folder}, which changes {files.changed} stored weights"]
    base = adapter.config.base_model_name_or_path
    # Of a checkpoint from the hub the folder is called by its commit.
    names = {checkpoint.path.absolute().name, PurePath(checkpoint.name.partition("@")[0]).name}
    if base and PurePath(base).name not in names:
        notes.append(f"the adapter was trained on {base}, and only shapes say that {checkpoint.name} is the same model")
    return replace_in(checkpoint, files=files), notes


def _config(checkpoint: Checkpoint, modules: LazyModules, like: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of the newer generation; `like` has the types that are written."""
    stts = checkpoint.hf_config.stts
    return config_json(
        modules.vision.config,
        mark_ids(read_tokenizer(checkpoint.tokenizer)),
        str(like["vision_tower.positional_embedding"].dtype).removeprefix("torch."),
        stts.positions if stts else None,
        checkpoint.hf_config.random_weights,
    )


def files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Tokenizer and processor settings as they are; the latter are made where the layout has them elsewhere."""
    files = {TOKENIZER: checkpoint.text.tokenizer}
    for folder, names in ((checkpoint.tokenizer, BESIDE_TOKENIZER), (checkpoint.path, OF_PROCESSOR)):
        files |= {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    if not files.keys() & set(OF_PROCESSOR):
        settings = processor_json(checkpoint.config.vision.pool, checkpoint.max_fps, checkpoint.max_frames)
        files[VIDEO_PROCESSOR] = json_bytes(settings)
    return files
