"""What vLLM reads from a Molmo2's config by the released checkpoints' names, where transformers has its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import Molmo2Config, PretrainedConfig


def released_names(folder: Path) -> dict[str, Any]:
    """What to add to the folder's config: `hf_overrides` of `vllm.LLM`, a dict since vLLM's quantizations want one."""
    config: Any = Molmo2Config(**json.loads((folder / "config.json").read_text()))
    vision, adapter, text = config.vision_config, config.adapter_config, config.text_config
    names: dict[str, Any] = dict(
        **_same(vision, "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads"),
        **_same(vision, "head_dim hidden_act layer_norm_eps"),
        image_default_input_size=list(vision.image_size),
        image_patch_size=vision.patch_size,
        image_num_pos=vision.num_position_embeddings,
    )
    return {
        "vit_config": PretrainedConfig(**names),
        "adapter_config": {"vit_layers": list(adapter.vision_feature_layer), "pooling_attention_mask": True},
        "text_config": {
            "qkv_bias": text.attention_bias,
            "layer_norm_eps": text.rms_norm_eps,
            "use_qk_norm": True,
            "rope_theta": text.rope_parameters["rope_theta"],
        },
    }


def _same(part: Any, names: str) -> dict[str, Any]:
    return {name: getattr(part, name) for name in names.split()}
