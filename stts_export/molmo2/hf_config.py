"""`config.json` of a Hugging Face directory, both generations of keys -> `ModelConfig`.

Source: transformers' `configuration_molmo2.py` (5.23) and its handling of older checkpoints; the `stts` object is this
product's own. It reads no weights; what only weights can tell (the scorer's width) is asked for by argument.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from stts_export.errors import CheckpointError
from stts_export.json_files import Section
from stts_export.modules.config import (
    RESCALE_MINIMUM,
    ConnectorConfig,
    MarkerIds,
    ModelConfig,
    RotaryConfig,
    ScorerConfig,
    TextConfig,
    VisionConfig,
)
from stts_export.molmo2.rope_config import RopeSection, rotary_config


def _either(new: str, *old: str) -> Any:
    return Field(validation_alias=AliasChoices(new, *old))


Size = Annotated[int, Field(ge=1, le=1 << 24)]
LayerCount = Annotated[int, Field(ge=1, le=1024)]
Epsilon = Annotated[float, Field(gt=0, lt=1)]


class VisionSection(Section):
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: LayerCount
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: Epsilon = 1e-6
    image_size: tuple[Size, Size] = Field(
        (378, 378), validation_alias=AliasChoices("image_size", "image_default_input_size")
    )
    patch_size: Size = Field(14, validation_alias=AliasChoices("patch_size", "image_patch_size"))


class AdapterSection(Section):
    hidden_size: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size
    intermediate_size: Size
    text_hidden_size: Size
    hidden_act: str = "silu"
    feature_layers: list[int] = _either("vision_feature_layer", "vit_layers")


class TextSection(Section):
    hidden_size: Size
    num_hidden_layers: LayerCount
    num_attention_heads: Size
    num_key_value_heads: Size
    head_dim: Annotated[int, Field(ge=2, le=1 << 16, multiple_of=2)]
    intermediate_size: Size
    vocab_size: Size
    additional_vocab_size: Annotated[int, Field(ge=0, le=1 << 20)] = 128
    attention_bias: bool = Field(False, validation_alias=AliasChoices("attention_bias", "qkv_bias"))
    rms_norm_eps: Epsilon = Field(1e-6, validation_alias=AliasChoices("rms_norm_eps", "layer_norm_eps"))
    hidden_act: str = "silu"
    qk_norm_type: Literal["qwen3", "olmo"] = "qwen3"
    use_qk_norm: bool = True
    norm_after: bool = False
    tie_word_embeddings: bool = False
    rope_theta: float | None = Field(None, gt=0)
    rope_scaling: RopeSection | None = None
    rope_parameters: RopeSection | None = None
    rope_scaling_layers: list[int] | None = None


class SttsSection(Section):
    """The `stts` object: how the checkpoint was pruned in training."""

    topk: float = Field(ge=0, lt=1)
    prune_at: Annotated[int, Field(ge=0)]
    prune: bool = True
    prune_method: str = "scorer"
    prune_from_frame: int = 0
    pruning_in_scorer: bool = True
    merge: bool = False
    rescale_bias_min: float = Field(RESCALE_MINIMUM, gt=0, le=1)
    positions: Literal["original", "compact"] | None = None


class HfConfig(Section):
    """What this product reads of a `config.json`."""

    model_type: Literal["molmo2"]
    vision: VisionSection = _either("vision_config", "vit_config")
    adapter: AdapterSection = _either("adapter_config")
    text: TextSection = _either("text_config")
    image_patch_id: Annotated[int, Field(ge=0)]
    frame_start_token_id: Annotated[int, Field(ge=0)]
    frame_end_token_id: Annotated[int, Field(ge=0)]
    tie_word_embeddings: bool = False
    bi_directional_attn: str | None = "image_tokens"
    stts: SttsSection | None = None
    random_weights: bool = False
    """Set by `scripts/random_checkpoint.py`: answers are noise."""

    @property
    def prunes(self) -> bool:
        return self.stts is not None and self.stts.prune

    def model_config_with(self, pool: int, scorer_width: int | None) -> ModelConfig:
        """The model's shape. `scorer_width` is the width of the scorer's MLP, None where the weights hold no scorer."""
        self._refuse_unsupported()
        vision = self._vision(pool)
        scorer = None
        if scorer_width is not None and self.prunes:
            scorer = self._scorer(scorer_width)
            scorer.check_against(vision)
        markers = MarkerIds(self.image_patch_id, self.frame_start_token_id, self.frame_end_token_id)
        return ModelConfig(vision, self._connector(), self._text(), markers, scorer)

    def _refuse_unsupported(self) -> None:
        text, stts = self.text, self.stts
        rules: list[tuple[str, object, object]] = [
            ("vision hidden_act", self.vision.hidden_act, "gelu_pytorch_tanh"),
            ("adapter hidden_act", self.adapter.hidden_act, "silu"),
            ("text hidden_act", text.hidden_act, "silu"),
            ("use_qk_norm", text.use_qk_norm, True),
        ]
        if stts is not None and stts.prune:
            rules += [
                ("stts.prune_method", stts.prune_method, "scorer"),
                ("stts.prune_from_frame", stts.prune_from_frame, 0),
                ("stts.pruning_in_scorer", stts.pruning_in_scorer, True),
                ("stts.merge", stts.merge, False),
            ]
        for name, got, allowed in rules:
            if got != allowed:
                raise CheckpointError(f"config.json: {name} is {got!r}; only {allowed!r} is supported")
        if self.bi_directional_attn not in (None, "image_tokens"):
            raise CheckpointError(
                f"config.json: bi_directional_attn is {self.bi_directional_attn!r}; only null (causal) and "
                "'image_tokens' are supported"
            )

    def _vision(self, pool: int) -> VisionConfig:
        section = self.vision
        height, width = section.image_size
        if height != width or height % section.patch_size:
            raise CheckpointError(
                f"config.json: frames of {width}x{height} do not divide into square {section.patch_size} pixel patches"
            )
        if section.num_key_value_heads not in (None, section.num_attention_heads):
            raise CheckpointError("config.json: the vision tower groups its queries, which is not supported")
        if section.head_dim not in (None, section.hidden_size // section.num_attention_heads):
            raise CheckpointError("config.json: vision head_dim x heads differs from hidden_size")
        # Negative layers count from the declared number, of which released weights lack the last two.
        layers = tuple(
            layer + section.num_hidden_layers if layer < 0 else layer for layer in self.adapter.feature_layers
        )
        if not layers or not all(0 <= layer < section.num_hidden_layers for layer in layers):
            raise CheckpointError(
                f"config.json: feature layers {self.adapter.feature_layers} are not among the "
                f"{section.num_hidden_layers} vision layers"
            )
        return VisionConfig(
            width=section.hidden_size,
            layers=max(layers) + 1,
            heads=section.num_attention_heads,
            mlp_width=section.intermediate_size,
            grid=height // section.patch_size,
            patch_values=section.patch_size**2 * 3,
            feature_layers=layers,
            pool=pool,
            norm_eps=section.layer_norm_eps,
        )

    def _connector(self) -> ConnectorConfig:
        section = self.adapter
        if section.num_key_value_heads not in (None, section.num_attention_heads):
            raise CheckpointError("config.json: the connector groups its queries, which is not supported")
        return ConnectorConfig(
            heads=section.num_attention_heads,
            head_dim=section.head_dim,
            pooled_width=section.hidden_size,
            mlp_width=section.intermediate_size,
            text_width=section.text_hidden_size,
        )

    def _text(self) -> TextConfig:
        section = self.text
        return TextConfig(
            width=section.hidden_size,
            layers=section.num_hidden_layers,
            heads=section.num_attention_heads,
            kv_heads=section.num_key_value_heads,
            head_dim=section.head_dim,
            mlp_width=section.intermediate_size,
            vocab=section.vocab_size,
            extra_vocab=section.additional_vocab_size,
            rotary=self._rotary(),
            norm_eps=section.rms_norm_eps,
            qkv_bias=section.attention_bias,
            norm_after=section.norm_after,
            norm_whole_projection=section.qk_norm_type == "olmo",
            tied=self.tie_word_embeddings or section.tie_word_embeddings,
            two_way_images=self.bi_directional_attn is not None,
        )

    def _rotary(self) -> RotaryConfig:
        section = self.text
        parts = [part for part in (section.rope_parameters, section.rope_scaling) if part is not None]
        return rotary_config(parts, section.rope_theta, section.rope_scaling_layers, section.num_hidden_layers)

    def _scorer(self, width: int) -> ScorerConfig:
        assert self.stts is not None
        return ScorerConfig(self.stts.prune_at, width, self.stts.topk, self.stts.rescale_bias_min)
