"""Seeded random checkpoints in the Hugging Face layout: for tests, and for trying speed before a download.

Their answers are noise, which `config.json` says so that everything downstream can say it too.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from stts_export.checkpoint.hf_config import HfConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.bundle.publish import published

# Marks in the order of Molmo2's extra vocabulary; `<im_patch>` is the third of them, `<frame_start>` the eighth.
EXTRA_TOKENS = (
    "<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<|image|>", "<im_low>",
    "<frame_start>", "<frame_end>", "<|video|>",
)  # fmt: skip
TEXT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EXTRA_VOCAB = 128


@dataclass(frozen=True)
class Size:
    """The dimensions of a random checkpoint; everything else follows Molmo2."""

    frame: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vision_mlp: int
    feature_layers: tuple[int, ...]
    prune_at: int
    scorer_mlp: int
    text_width: int
    text_layers: int
    text_heads: int
    text_kv_heads: int
    text_head_width: int
    text_mlp: int


SIZES = {
    # Small enough for a test, with every part in it.
    "micro": Size(84, 32, 5, 2, 48, (-1, -3), 1, 24, 48, 2, 4, 2, 12, 64),
    # Small enough for a repository, large enough for pruning to show on a CPU.
    "tiny": Size(252, 160, 12, 2, 800, (-1, -4), 1, 128, 160, 4, 4, 2, 40, 384),
}
VOCAB = 256 + len(TEXT_TOKENS)


def write_random_checkpoint(out: Path, size: Size, seed: int, prune_fraction: float | None = 0.5) -> None:
    """Writes a checkpoint folder; `prune_fraction` None leaves out scorer and settings, as in a plain Molmo2."""
    content = config_json(size, prune_fraction)
    hf_config = HfConfig.model_validate(content)
    model = hf_config.model_config_with(pool=3, scorer_width=size.scorer_mlp)
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for module in (Vision(model), Language(model.text, model.markers)):
        for name, tensor in module.state_dict().items():
            weights[name] = _random(name, tensor.shape, generator)
    with published(out) as folder:
        save_file(_stored(weights), folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        _write_json(folder / "config.json", content)
        tokenizer().save(str(folder / "tokenizer.json"))
        _write_json(folder / "tokenizer_config.json", {"bos_token": None, "eos_token": "<|im_end|>"})
        _write_json(folder / "video_preprocessor_config.json", {"pooling_size": [3, 3], "max_fps": 2})


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    noise: Tensor = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight") or ".layer_norm" in name or "layernorm" in name:
        return noise * 0.1 + (0.0 if name.endswith("bias") else 1.0)
    if len(shape) == 2 and "embed" not in name:
        return noise / math.sqrt(shape[1])
    return noise * 0.1


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


def tokenizer() -> Tokenizer:
    """A byte-level tokenizer: 256 bytes, the chat marks, and Molmo2's marks behind the base vocabulary."""
    tokens = (*sorted(pre_tokenizers.ByteLevel.alphabet()), *TEXT_TOKENS, *EXTRA_TOKENS)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in TEXT_TOKENS + EXTRA_TOKENS])
    return made


def config_json(size: Size, prune_fraction: float | None) -> dict[str, Any]:
    """A `config.json` of the newer generation."""
    vision_head = size.vision_width // size.vision_heads
    content: dict[str, Any] = {
        "architectures": ["Molmo2ForConditionalGeneration"],
        "model_type": "molmo2",
        "dtype": "float16",
        "random_weights": True,
        "image_patch_id": VOCAB + EXTRA_TOKENS.index("<im_patch>"),
        "image_start_token_id": VOCAB + EXTRA_TOKENS.index("<im_start>"),
        "image_end_token_id": VOCAB + EXTRA_TOKENS.index("<im_end>"),
        "low_res_image_start_token_id": VOCAB + EXTRA_TOKENS.index("<low_res_im_start>"),
        "frame_start_token_id": VOCAB + EXTRA_TOKENS.index("<frame_start>"),
        "frame_end_token_id": VOCAB + EXTRA_TOKENS.index("<frame_end>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_mlp,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "num_key_value_heads": size.vision_heads,
            "head_dim": vision_head,
            "image_size": [size.frame, size.frame],
            "patch_size": 14,
        },
        "adapter_config": {
            "vision_feature_layer": [layer % size.vision_layers for layer in size.feature_layers],
            "hidden_size": size.vision_width,
            "num_attention_heads": size.vision_heads,
            "num_key_value_heads": size.vision_heads,
            "head_dim": vision_head,
            "intermediate_size": size.text_mlp,
            "text_hidden_size": size.text_width,
        },
        "text_config": {
            "hidden_size": size.text_width,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_heads,
            "num_key_value_heads": size.text_kv_heads,
            "head_dim": size.text_head_width,
            "intermediate_size": size.text_mlp,
            "vocab_size": VOCAB,
            "additional_vocab_size": EXTRA_VOCAB,
            "max_position_embeddings": 36864,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
    }
    if prune_fraction is not None:
        content["stts"] = {"topk": prune_fraction, "prune_at": size.prune_at, "positions": "original"}
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
