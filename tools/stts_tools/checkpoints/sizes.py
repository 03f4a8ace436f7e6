"""Sizes of the checkpoints that this package makes itself."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from stts_export.modules.config import (
    ConnectorConfig,
    MarkerIds,
    ModelConfig,
    RotaryConfig,
    ScorerConfig,
    TextConfig,
    VisionConfig,
    YarnScaling,
)
from stts_export.molmo2.marks import mark_ids
from stts_runtime.errors import UserError
from stts_tools.checkpoints.byte_tokenizer import base_vocabulary

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
    text_head_dim: int
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
    # Small enough for a repository, large enough for pruning to show on a CPU; heads of 64 and text widths of whole
    # blocks of 128, as kernels and quantized formats want them.
    "tiny": Size(252, 192, 7, 3, 768, (-1, -4), 1, 128, 256, 4, 4, 2, 64, 256),
    # The same with OLMo's language model, and a context that a test's prompts reach the scaled end of.
    "micro-o": Size(84, 32, 5, 2, 48, (-1, -3), 1, 24, 48, 4, 4, 4, 16, 64, olmo=True, original_context=32),
    # As released, to try speed and memory before a download; the scorer's MLP is as wide as the tower's.
    "molmo2-4b": Size(378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 2560, 36, 32, 8, 128, 9728, 151_936, 5e6),
    "molmo2-8b": Size(378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 4096, 36, 32, 8, 128, 12_288, 151_936, 1e6),
    "molmo2-o-7b": Size(
        378, 1152, 25, 16, 4304, (-1, -7), 3, 4304, 4096, 32, 32, 32, 128, 11_008, 100_278, 5e5, olmo=True
    ),
}


def size_named(name: str) -> Size:
    """Raises `UserError` if there is none of that name."""
    if name not in SIZES:
        raise UserError(f"unknown size {name!r}; there is {', '.join(SIZES)}")
    return SIZES[name]


# Every fourth layer of OLMo 3 sees its whole context, and only those have their positions scaled.
_SCALED_EVERY = 4
_YARN_FACTOR = 8.0
_YARN_AMPLITUDE = 1.2079441541679836


def model_config(size: Size, tokenizer: Tokenizer, prune_fraction: float | None) -> ModelConfig:
    """The model's shape with this tokenizer; `prune_fraction` None makes it a plain Molmo2."""
    vision = VisionConfig(
        width=size.vision_width,
        layers=size.vision_layers,
        heads=size.vision_heads,
        mlp_width=size.vision_mlp,
        grid=size.frame // PATCH_SIZE,
        patch_values=PATCH_SIZE**2 * 3,
        feature_layers=tuple(layer % size.vision_layers for layer in size.feature_layers),
        pool=POOL,
    )
    connector = ConnectorConfig(
        heads=size.vision_heads,
        head_dim=size.vision_width // size.vision_heads,
        pooled_width=size.vision_width,
        mlp_width=size.text_mlp,
        text_width=size.text_width,
    )
    marks = mark_ids(tokenizer)
    markers = MarkerIds(marks["image_patch_id"], marks["frame_start_token_id"], marks["frame_end_token_id"])
    scorer = None if prune_fraction is None else ScorerConfig(size.prune_at, size.scorer_mlp, prune_fraction)
    return ModelConfig(vision, connector, _text(size, base_vocabulary(tokenizer)), markers, scorer)


def _text(size: Size, vocab: int) -> TextConfig:
    rotary = RotaryConfig(size.rope_theta)
    if size.olmo:
        scaling = YarnScaling(_YARN_FACTOR, size.original_context, _YARN_AMPLITUDE)
        scaled = range(_SCALED_EVERY - 1, size.text_layers, _SCALED_EVERY)
        rotary = RotaryConfig(size.rope_theta, scaling, frozenset(scaled))
    return TextConfig(
        width=size.text_width,
        layers=size.text_layers,
        heads=size.text_heads,
        kv_heads=size.text_kv_heads,
        head_dim=size.text_head_dim,
        mlp_width=size.text_mlp,
        vocab=vocab,
        extra_vocab=EXTRA_VOCAB,
        rotary=rotary,
        norm_after=size.olmo,
        norm_whole_projection=size.olmo,
    )
