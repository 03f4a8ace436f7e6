"""Modules -> a checkpoint folder in the Hugging Face layout, weights in float16."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from stts_export.checkpoint.sizes import POOL
from stts_runtime.bundle.publish import published


def write_checkpoint(
    out: Path,
    config: dict[str, Any],
    weights: dict[str, Tensor],
    tokenizer: Tokenizer,
    card: str | None = None,
    may_replace: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Writes the folder whole or not at all; `weights` carry our names, `card` becomes its README."""
    with published(out, may_replace) as folder:
        save_file(_stored(weights), folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        _write_json(folder / "config.json", config)
        tokenizer.save(str(folder / "tokenizer.json"))
        _write_json(folder / "tokenizer_config.json", {"bos_token": None, "eos_token": "<|im_end|>"})
        _write_json(folder / "video_preprocessor_config.json", {"pooling_size": [POOL, POOL], "max_fps": 2})
        if card is not None:
            (folder / "README.md").write_text(card)


def _stored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names -> those of the newer Hugging Face generation, in float16."""
    stored: dict[str, Tensor] = {}
    embed = "language_model.embed_tokens"
    for name, tensor in weights.items():
        if name.startswith(embed):
            continue
        own = name if name.startswith("lm_head") else f"model.{name}"
        if "patch_token_pooler" in name:
            own = own.replace("q_proj", "wq").replace("k_proj", "wk").replace("v_proj", "wv").replace("o_proj", "wo")
        stored[own.replace("model.temporal", "model.vision_tower.temporal")] = tensor.half().contiguous()
    stored[f"model.{embed}.weight"] = torch.cat((weights[f"{embed}.base"], weights[f"{embed}.extra"])).half()
    return stored


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
