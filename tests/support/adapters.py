"""A LoRA written by hand, as PEFT saves it: on one matrix, of rank 4, with a scaling of 2."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CHANGED = "model.language_model.layers.0.self_attn.q_proj"
MODULE = f"base_model.model.{CHANGED}"


def write_adapter(folder: Path, checkpoint: Path) -> Path:
    """For `checkpoint`, a Hugging Face folder of the newer generation."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    rows, width = load_file(checkpoint / "model.safetensors")[f"{CHANGED}.weight"].shape
    matrices = {f"{MODULE}.lora_A.weight": torch.ones(4, width), f"{MODULE}.lora_B.weight": torch.ones(rows, 4)}
    save_file(matrices, folder / WEIGHTS)
    return folder
