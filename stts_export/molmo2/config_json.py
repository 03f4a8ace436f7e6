"""`ModelConfig` -> a `config.json` of the newer Hugging Face generation, which transformers reads too."""

from __future__ import annotations

from typing import Any

from stts_export.modules.config import (
    Llama3Scaling,
    ModelConfig,
    RotaryConfig,
    ScorerConfig,
    TextConfig,
    VisionConfig,
    YarnScaling,
)
from stts_runtime.bundle.manifest import Positions

_LONGEST_PROMPT = 36_864
"""What the released models say; nothing here depends on it."""


def config_json(
    model: ModelConfig, marks: dict[str, int], dtype: str, positions: Positions | None, random_weights: bool = False
) -> dict[str, Any]:
    """`marks` are the token numbers of Molmo2's marks under the names used here, `dtype` that of the weights.

    The head is never tied: what would be tied is the base vocabulary's part of the embedding only, which transformers
    cannot say.
    """
    vision, connector = model.vision, model.connector
    content: dict[str, Any] = {
        "architectures": ["Molmo2ForConditionalGeneration"],
        "model_type": "molmo2",
        "dtype": dtype,
        **marks,
        "bi_directional_attn": "image_tokens" if model.text.two_way_images else None,
        "tie_word_embeddings": False,
        "vision_config": _vision(vision),
        "adapter_config": {
            "vision_feature_layer": list(vision.feature_layers),
            "hidden_size": connector.pooled_width,
            "num_attention_heads": connector.heads,
            "num_key_value_heads": connector.heads,
            "head_dim": connector.head_dim,
            "intermediate_size": connector.mlp_width,
            "text_hidden_size": connector.text_width,
        },
        "text_config": _text(model.text),
    }
    if random_weights:
        content["random_weights"] = True
    if isinstance(model.scorer, ScorerConfig):
        content["stts"] = _stts(model.scorer, positions)
    return content


def _vision(config: VisionConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.width // config.heads,
        "layer_norm_eps": config.norm_eps,
        "image_size": [config.frame_size, config.frame_size],
        "patch_size": config.patch_size,
    }


def _text(config: TextConfig) -> dict[str, Any]:
    content: dict[str, Any] = {
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_width,
        "vocab_size": config.vocab,
        "additional_vocab_size": config.extra_vocab,
        "attention_bias": config.qkv_bias,
        "rms_norm_eps": config.norm_eps,
        "qk_norm_type": "olmo" if config.norm_whole_projection else "qwen3",
        "norm_after": config.norm_after,
        "max_position_embeddings": _LONGEST_PROMPT,
        "rope_parameters": _rope(config.rotary),
    }
    if config.rotary.scaling is not None:
        content["rope_scaling_layers"] = sorted(config.rotary.scaled_layers)
    return content


def _rope(config: RotaryConfig) -> dict[str, Any]:
    scaling = config.scaling
    if scaling is None:
        return {"rope_type": "default", "rope_theta": config.theta}
    common = {"rope_theta": config.theta, "factor": scaling.factor}
    if isinstance(scaling, YarnScaling):
        return {
            "rope_type": "yarn",
            **common,
            "original_max_position_embeddings": scaling.original_context,
            "attention_factor": scaling.amplitude,
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
            "truncate": scaling.truncate,
        }
    if isinstance(scaling, Llama3Scaling):
        return {
            "rope_type": "llama3",
            **common,
            "original_max_position_embeddings": scaling.original_context,
            "low_freq_factor": scaling.low_turns,
            "high_freq_factor": scaling.high_turns,
        }
    return {"rope_type": "linear", **common}


def _stts(config: ScorerConfig, positions: Positions | None) -> dict[str, Any]:
    settings = {
        "topk": config.trained_prune_fraction,
        "prune_at": config.prune_at,
        "rescale_bias_min": config.rescale_minimum,
    }
    return settings if positions is None else {**settings, "positions": positions}
