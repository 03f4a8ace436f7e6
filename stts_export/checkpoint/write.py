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

from stts_export.checkpoint.hf_config import HfConfig
from stts_export.checkpoint.json_files import read_json
from stts_export.checkpoint.layouts import HUGGING_FACE
from stts_export.checkpoint.lazy_weights import Read, placeholder
from stts_export.checkpoint.safetensors_files import INDEX, SINGLE
from stts_export.checkpoint.safetensors_writer import write_safetensors
from stts_export.checkpoint.tokenizer import SETTINGS, TOKENIZER
from stts_export.errors import CheckpointError
from stts_runtime.bundle.publish import Replaceable, published

VIDEO_PROCESSOR = "video_preprocessor_config.json"

_EMBEDDING = "language_model.embed_tokens"
_HEAD = "lm_head.weight"


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
    sources = _sources(like)

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
        SETTINGS: json_bytes({"bos_token": None, "eos_token": "<|im_end|>"}),
        VIDEO_PROCESSOR: json_bytes({"pooling_size": [pool, pool], "max_fps": 2}),
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


def _sources(names: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names of the newer Hugging Face generation -> ours, whose rows lie one after the other in them."""
    sources: dict[str, list[str]] = {}
    for name in names:
        if name.startswith(_EMBEDDING):
            continue
        own = name if name == _HEAD else f"model.{name}"
        if "patch_token_pooler" in name:
            own = own.replace("q_proj", "wq").replace("k_proj", "wk").replace("v_proj", "wv").replace("o_proj", "wo")
        sources[own.replace("model.temporal", "model.vision_tower.temporal")] = [name]
    sources[f"model.{_EMBEDDING}.weight"] = [f"{_EMBEDDING}.base", f"{_EMBEDDING}.extra"]
    # A tied head is written out (`config_json`).
    sources.setdefault(_HEAD, [f"{_EMBEDDING}.base"])
    return sources
