"""Writes the original training layout from a Hugging Face one, with names and settings put down by hand.

They are those of the training code's own state dict and configuration, and none comes from our tables. Settings that
make no shape are in `training_settings`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict_saver import save

from tests.support import training_settings as settings

VISION_BLOCK = {
    "layer_norm1": "attention_norm",
    "layer_norm2": "ffn_norm",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.fc1": "feed_forward.w1",
    "mlp.fc2": "feed_forward.w2",
}
_TEXT_BLOCK = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.o_proj": "attn_out",
    "mlp.down_proj": "ff_out",
    "self_attn.q_norm": "q_norm",
    "self_attn.k_norm": "k_norm",
}
_CONNECTOR = {"q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo"}
_PROJECTOR = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_VIT = "vision_backbone.image_vit."


def training_state(weights: dict[str, Tensor], tied: bool = False) -> dict[str, Tensor]:
    """The training code's names for weights of the newer Hugging Face generation."""
    state: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if (renamed := _renamed(name)) is not None:
            state[renamed] = tensor
    text = "model.language_model."
    layers = {name.split(".")[3] for name in weights if name.startswith(f"{text}layers.")}
    for layer in sorted(layers, key=int):
        block = f"{text}layers.{layer}"
        parts = [weights[f"{block}.self_attn.{part}_proj.weight"] for part in "qkv"]
        state[f"transformer.blocks.{layer}.att_proj.weight"] = torch.cat(parts)
        up, gate = (weights[f"{block}.mlp.{part}_proj.weight"] for part in ("up", "gate"))
        state[f"transformer.blocks.{layer}.ff_proj.weight"] = torch.cat([up, gate])
    embedding = weights[f"{text}embed_tokens.weight"]
    state["transformer.wte.embedding"] = embedding[:-128].clone()
    state["transformer.wte.new_embedding"] = embedding[-128:].clone()
    if not tied:
        state["transformer.ff_out.weight"] = weights["lm_head.weight"]
    return state


def _renamed(name: str) -> str | None:
    """None for what is fused, split or the head."""
    if "temporal_token_scorer" in name:
        return f"{_VIT}transformer.temporal_token_scorer{name.partition('temporal_token_scorer')[2]}"
    parts = name.split(".")
    if name.startswith("model.vision_tower.layers."):
        inner = ".".join(parts[4:-1])
        return f"{_VIT}transformer.resblocks.{parts[3]}.{VISION_BLOCK[inner]}.{parts[-1]}"
    if name.startswith("model.vision_tower."):
        return _VIT + name.removeprefix("model.vision_tower.")
    if name.startswith("model.multi_modal_projector."):
        table = _CONNECTOR if parts[2] == "image_pooling_2d" else _PROJECTOR
        return f"vision_backbone.{parts[2]}.{table[parts[3]]}.{parts[4]}"
    if name.startswith("model.language_model.layers."):
        inner = ".".join(parts[4:-1])
        return f"transformer.blocks.{parts[3]}.{_TEXT_BLOCK[inner]}.weight" if inner in _TEXT_BLOCK else None
    return "transformer.ln_f.weight" if name == "model.language_model.norm.weight" else None


def training_config(config: dict[str, Any], tied: bool = False, flat: bool = False) -> dict[str, Any]:
    """What the training run's config.yaml says of a model with this config.json; `flat`: an older run's."""
    vision, text = config["vision_config"], config["text_config"]
    rope = text["rope_parameters"]
    vit = {
        **settings.VIT,
        "image_num_pos": (vision["image_size"][0] // vision["patch_size"]) ** 2,
        "image_model_type": "siglip",
        "image_default_input_size": vision["image_size"],
        "image_patch_size": vision["patch_size"],
        "image_emb_dim": vision["hidden_size"],
        "image_num_heads": vision["num_attention_heads"],
        "image_num_key_value_heads": vision["num_key_value_heads"],
        # Declared, not stored: two more than there are.
        "image_num_layers": vision["num_hidden_layers"] + 2,
        "image_head_dim": vision["head_dim"],
        "image_mlp_dim": vision["intermediate_size"],
        "image_mlp_activations": "gelu_pytorch_tanh",
        "image_norm_eps": 1e-6,
        "resize_mode": "siglip",
        "normalize": "siglip",
    }
    if "stts" in config:
        stts = {"topk": config["stts"]["topk"], "prune_at": config["stts"]["prune_at"], "prune": True}
        vit |= {
            **settings.SCORER,
            **stts,
            "prune_method": "scorer",
            "prune_from_frame": 0,
            "pruning_in_scorer": True,
            "merge": False,
        }
    preprocessor = dict(settings.FLAT if flat else settings.NEWER)
    if "stts" in config and flat:
        preprocessor["topk"] = config["stts"]["topk"]
    llm = {
        **settings.LLM,
        "d_model": text["hidden_size"],
        "n_heads": text["num_attention_heads"],
        "n_kv_heads": text["num_key_value_heads"],
        "head_dim": text["head_dim"],
        "n_layers": text["num_hidden_layers"],
        "mlp_hidden_size": 2 * text["intermediate_size"],
        "activation_type": "swiglu",
        "layer_norm_type": "rms",
        "rope": True,
        "clip_qkv": None,
        "vocab_size": text["vocab_size"] - 1,
        "embedding_size": text["vocab_size"],
        "additional_vocab_size": 128,
        "weight_tying": tied,
        "qkv_bias": False,
        "attention_layer_norm": True,
        "attention_layer_norm_type": text["qk_norm_type"],
        "norm_after": text["norm_after"],
        "layer_norm_eps": 1e-6,
        "rope_theta": rope["rope_theta"],
        "rope_type": rope["rope_type"],
        "full_attention_layers": None,
    }
    if rope["rope_type"] == "yarn":
        for key in ("factor", "attention_factor", "original_max_position_embeddings", "beta_fast", "beta_slow"):
            llm[f"rope_{key}"] = rope[key]
        llm["full_attention_layers"] = text["rope_scaling_layers"]
    layers = vision["num_hidden_layers"]
    features = [layer - layers - 2 for layer in config["adapter_config"]["vision_feature_layer"]]
    model = {
        "model_name": "temporal_video_olmo" if flat else "video_olmo",
        "data_formatter": {"system_prompt": "demo_or_style_v2", "message_format": "qwen3"},
        "llm": llm,
        "vision_backbone": {
            **settings.BACKBONE, "vit": vit, "vit_layers": features, "image_pooling_2d": "attention_meanq"
        },
        "mm_preprocessor": preprocessor,
        "bi_directional_attn": "image_tokens",
        "cp_enabled": False,
        "apply_cp_to_vision_backbone": False,
    }  # fmt: skip
    return {"run_name": "a run", "model": model, "seed": 1}


def write_training_layout(
    source: Path, out: Path, sharded: bool, dtype: torch.dtype, tied: bool = False, flat: bool = False
) -> Path:
    """Writes what `source`, of the newer Hugging Face generation, looked like before it was converted."""
    out.mkdir()
    weights = {name: tensor.to(dtype) for name, tensor in load_file(source / "model.safetensors").items()}
    state = training_state(weights, tied)
    config = training_config(json.loads((source / "config.json").read_text()), tied, flat)
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    if sharded:
        optimizer = {f"optim.state.{name}.exp_avg": torch.zeros_like(tensor) for name, tensor in state.items()}
        steps = {"optim.step": 7}
        sharded_state = {**{f"model.{name}": tensor for name, tensor in state.items()}, **optimizer, **steps}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(sharded_state, checkpoint_id=out / "model_and_optim", no_dist=True)
    else:
        torch.save(state, out / "model.pt")
    return out
