"""Modules -> a checkpoint folder in the Hugging Face layout of the newer generation."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stts_export.checkpoint.layouts import HUGGING_FACE
from stts_export.checkpoint.lazy_weights import Read, placeholder
from stts_export.checkpoint.safetensors_files import INDEX, SINGLE
from stts_export.checkpoint.safetensors_writer import write_safetensors
from stts_export.checkpoint.tokenizer import SETTINGS, TOKENIZER
from stts_export.errors import CheckpointError
from stts_export.json_files import read_json
from stts_export.molmo2.hf_config import HfConfig
from stts_export.molmo2.marks import END_OF_TURN
from stts_export.molmo2.names import stored_sources
from stts_export.molmo2.processor import MAX_FPS, VIDEO_PROCESSOR, processor_json
from stts_runtime.bundle.publish import Replaceable, published


def write_checkpoint(
    out: Path,
    config: dict[str, Any],
    like: Mapping[str, Tensor],
    read: Read,
    beside: Mapping[str, bytes],
    replaceable: Replaceable | None = None,
) -> None:
    """Writes the folder whole or not at all.

    `like` has a tensor, which may be a placeholder, of shape and dtype for each of our names, and `read` gives the
    weight itself; `beside` are further files by name: the tokenizer, processor settings, a card.
    """
    sources = stored_sources(like)

    def stored(name: str) -> Tensor:
        return torch.cat([read(own) for own in sources[name]])

    shapes = {name: _joined([like[own] for own in owns]) for name, owns in sources.items()}
    with published(out, replaceable) as folder:
        write_safetensors(folder / SINGLE, shapes, stored, metadata={"format": "pt"})
        (folder / HUGGING_FACE).write_bytes(json_bytes(config))
        for name, content in beside.items():
            (folder / name).write_bytes(content)


def replaceable_checkpoint(force: bool) -> Replaceable:
    """A folder that `write_checkpoint` could have written."""
    return Replaceable("a checkpoint", _is_checkpoint, force)


def files_beside(tokenizer: Tokenizer, pool: int, card: str | None = None) -> dict[str, bytes]:
    """The files next to a trained checkpoint's weights: tokenizer, processor with `pool` x `pool` groups, README."""
    files = {
        TOKENIZER: tokenizer.to_str(pretty=True).encode(),
        SETTINGS: json_bytes({"bos_token": None, "eos_token": END_OF_TURN}),
        VIDEO_PROCESSOR: json_bytes(processor_json(pool, MAX_FPS)),
    }
    return files if card is None else {**files, "README.md": card.encode()}


def json_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _is_checkpoint(place: Path) -> bool:
    """Whether the folder is one of these, and not some other that has a config.json."""
    try:
        read_json(place / HUGGING_FACE, HfConfig)
    except CheckpointError:
        return False
    return any((place / weights).is_file() for weights in (SINGLE, INDEX))


def _joined(parts: list[Tensor]) -> Tensor:
    """What parts with rows one after the other look like."""
    rows = sum(part.shape[0] for part in parts)
    dtype = functools.reduce(torch.promote_types, (part.dtype for part in parts))
    return placeholder((rows, *parts[0].shape[1:]), dtype)
