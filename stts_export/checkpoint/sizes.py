"""Sizes of the small checkpoints that this package makes itself, and their `config.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stts_export.checkpoint.hf_config import HfConfig
from stts_export.modules.config import ModelConfig

# Marks in the order of Molmo2's extra vocabulary; `<im_patch>` is the third of them, `<frame_start>` the eighth.
EXTRA_TOKENS = (
    "<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<|image|>", "<im_low>",
    "<frame_start>", "<frame_end>", "<|video|>",
)  # fmt: skip
EXTRA_VOCAB = 128
PATCH_SIZE = 14
POOL = 3


@dataclass(frozen=True)
class Size:
    """The dimensions of a checkpoint; everything else follows Molmo2."""

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
    vocab: int | None = None
    """Entries of the base vocabulary; None: as the tokenizer has."""
    rope_theta: float = 10_000.0
    olmo: bool = False
    """A language model in OLMo 3's form, not Qwen3's."""
    original_context: int = 8192
    """What OLMo's scaled rotary positions were first trained for."""

    @property
    def groups(self) -> int:
        """Pooling groups a frame."""
        return (self.frame // PATCH_SIZE // POOL) ** 2


SIZES = {
    # Small enough for a test, with every part in it.
    "micro": Size(84, 32, 5, 2, 48, (-1, -3), 1, 24, 48, 2, 4, 2, 16, 64),
    # Small enough for a repository, large enough for pruning to show on a CPU.
    "tiny": Size(252, 160, 12, 2, 640, (-1, -4), 1, 128, 160, 4, 4, 2, 40, 384),
    # The same with OLMo's language model, and a context that a test's prompts reach the scaled end of.
    "micro-o": Size(84, 32, 5, 2, 48, (-1, -3), 1, 24, 48, 4, 4, 4, 16, 64, olmo=True, original_context=32),
    # As released, to try speed and memory before a download; the scorer's MLP is as wide as the tower's.
    "molmo2-4b": Size(378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 2560, 36, 32, 8, 128, 9728, 151_936, 5e6),
    "molmo2-8b": Size(378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 4096, 36, 32, 8, 128, 12_288, 151_936, 1e6),
    "molmo2-o-7b": Size(
        378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 4096, 32, 32, 32, 128, 11_008, 100_352, 5e5, olmo=True
    ),
}

# Every fourth layer of OLMo 3 sees its whole context, and only those have their positions scaled.
_SCALED_EVERY = 4


def config_json(size: Size, vocab: int, prune_fraction: float | None, random_weights: bool) -> dict[str, Any]:
    """A `config.json` of the newer generation; `prune_fraction` None makes it a plain Molmo2's."""
    vision_head = size.vision_width // size.vision_heads
    content: dict[str, Any] = {
        "architectures": ["Molmo2ForConditionalGeneration"],
        "model_type": "molmo2",
        "dtype": "float16",
        "image_patch_id": vocab + EXTRA_TOKENS.index("<im_patch>"),
        "image_start_token_id": vocab + EXTRA_TOKENS.index("<im_start>"),
        "image_end_token_id": vocab + EXTRA_TOKENS.index("<im_end>"),
        "low_res_image_start_token_id": vocab + EXTRA_TOKENS.index("<low_res_im_start>"),
        "frame_start_token_id": vocab + EXTRA_TOKENS.index("<frame_start>"),
        "frame_end_token_id": vocab + EXTRA_TOKENS.index("<frame_end>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_mlp,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "num_key_value_heads": size.vision_heads,
            "head_dim": vision_head,
            "image_size": [size.frame, size.frame],
            "patch_size": PATCH_SIZE,
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
            "vocab_size": vocab,
            "additional_vocab_size": EXTRA_VOCAB,
            "max_position_embeddings": 36864,
            "rope_parameters": {"rope_type": "default", "rope_theta": size.rope_theta},
        },
    }
    if size.olmo:
        content["text_config"] |= _olmo(size)
    if random_weights:
        content["random_weights"] = True
    if prune_fraction is not None:
        content["stts"] = {"topk": prune_fraction, "prune_at": size.prune_at, "positions": "original"}
    return content


def _olmo(size: Size) -> dict[str, Any]:
    """What a `text_config` says of OLMo 3's form."""
    yarn = {
        "factor": 8.0,
        "original_max_position_embeddings": size.original_context,
        "attention_factor": 1.2079441541679836,
    }
    return {
        "qk_norm_type": "olmo",
        "norm_after": True,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": size.rope_theta, **yarn},
        "rope_scaling_layers": list(range(_SCALED_EVERY - 1, size.text_layers, _SCALED_EVERY)),
    }


def model_config(size: Size, vocab: int, prune_fraction: float | None) -> ModelConfig:
    """The shape that a checkpoint of this size is read back with."""
    content = config_json(size, vocab, prune_fraction, random_weights=False)
    return HfConfig.model_validate(content).model_config_with(pool=POOL, scorer_width=size.scorer_mlp)
