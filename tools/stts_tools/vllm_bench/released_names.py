"""What vLLM reads from a Molmo2's config by the released checkpoints' names, where transformers has its own."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


def released_names(config: Any) -> Any:
    """The config with both; for `hf_overrides` of `vllm.LLM`. Takes and returns a `Molmo2Config`."""
    if not hasattr(config, "vision_config"):
        return config
    vision, adapter, text = config.vision_config, config.adapter_config, config.text_config
    names: dict[str, Any] = dict(
        **_same(vision, "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads"),
        **_same(vision, "head_dim hidden_act layer_norm_eps"),
        image_default_input_size=list(vision.image_size),
        image_patch_size=vision.patch_size,
        image_num_pos=vision.num_position_embeddings,
    )
    config.vit_config = PretrainedConfig(**names)
    adapter.vit_layers, adapter.pooling_attention_mask = list(adapter.vision_feature_layer), True
    text.qkv_bias, text.layer_norm_eps, text.use_qk_norm = text.attention_bias, text.rms_norm_eps, True
    text.rope_theta = text.rope_parameters["rope_theta"]
    return config


def _same(part: Any, names: str) -> dict[str, Any]:
    return {name: getattr(part, name) for name in names.split()}
