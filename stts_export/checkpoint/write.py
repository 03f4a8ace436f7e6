"""Modules -> a checkpoint folder in the Hugging Face layout, weights in float16."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stts_export.checkpoint.sizes import POOL
from stts_export.checkpoint.stream_writer import write_safetensors
from stts_export.checkpoint.streaming import placeholder
from stts_runtime.bundle.publish import published


def write_checkpoint(
    out: Path,
    config: dict[str, Any],
    shapes: Mapping[str, Tensor],
    read: Callable[[str], Tensor],
    tokenizer: Tokenizer,
    card: str | None = None,
    may_replace: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Writes the folder whole or not at all; `card` becomes its README.

    `shapes` has a tensor, which may be a placeholder, for each of our names, and `read` gives the weight itself.
    """
    sources = _stored(shapes)

    def stored(name: str) -> Tensor:
        return torch.cat([read(own) for own in sources[name]])

    like = {name: _like([shapes[own] for own in owns]) for name, owns in sources.items()}
    with published(out, may_replace) as folder:
        write_safetensors(folder / "model.safetensors", like, stored, metadata={"format": "pt"})
        _write_json(folder / "config.json", config)
        tokenizer.save(str(folder / "tokenizer.json"))
        _write_json(folder / "tokenizer_config.json", {"bos_token": None, "eos_token": "<|im_end|>"})
        _write_json(folder / "video_preprocessor_config.json", {"pooling_size": [POOL, POOL], "max_fps": 2})
        if card is not None:
            (folder / "README.md").write_text(card)


def _like(parts: list[Tensor]) -> Tensor:
    """What parts with rows one after the other look like in float16."""
    rows = sum(part.shape[0] for part in parts)
    return placeholder((rows, *parts[0].shape[1:]), torch.float16)


def _stored(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of the newer Hugging Face generation -> ours, whose rows lie one after the other in them."""
    stored: dict[str, list[str]] = {}
    embed = "language_model.embed_tokens"
    for name in names:
        if name.startswith(embed):
            continue
        own = name if name.startswith("lm_head") else f"model.{name}"
        if "patch_token_pooler" in name:
            own = own.replace("q_proj", "wq").replace("k_proj", "wk").replace("v_proj", "wv").replace("o_proj", "wo")
        stored[own.replace("model.temporal", "model.vision_tower.temporal")] = [name]
    stored[f"model.{embed}.weight"] = [f"{embed}.base", f"{embed}.extra"]
    return stored


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
