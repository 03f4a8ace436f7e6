"""`config.yaml` of the original training layout -> what a Hugging Face `config.json` would say.

Source: the fields that allenai/molmo2's own conversion script reads, and its defaults. `training_file` reads the file.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from stts_export.errors import CheckpointError
from stts_export.json_files import Section
from stts_export.molmo2.hf_config import Size, SttsSection

_PRUNING = "prune_at"
"""The setting that only a vision tower with STTS has."""

_ROPE_SETTINGS = (
    "factor", "high_freq_factor", "low_freq_factor", "attention_factor", "original_max_position_embeddings",
    "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
)  # fmt: skip


class LlmSection(Section):
    d_model: Size
    n_layers: Size
    n_heads: Size
    n_kv_heads: Size | None = None
    head_dim: Size | None = None
    mlp_hidden_size: Size | None = None
    """Width of gate and up projection together."""
    mlp_ratio: Size = 4
    activation_type: str = "swiglu"
    layer_norm_type: str = "rms"
    normalize_input_embeds: bool = False
    scale_logits: bool = False
    clip_qkv: float | None = None
    rope: bool = True
    vocab_size: Size
    embedding_size: Size | None = None
    """Rows that the base embedding really has, padding included."""
    additional_vocab_size: int | None = Field(None, ge=0, le=1 << 20)
    weight_tying: bool = True
    qkv_bias: bool = False
    attention_layer_norm: bool = False
    attention_layer_norm_type: str = "olmo"
    norm_after: bool = False
    layer_norm_eps: float
    max_sequence_length: Size | None = None
    rope_theta: float
    rope_type: str = "default"
    rope_factor: float | None = None
    rope_high_freq_factor: float | None = None
    rope_low_freq_factor: float | None = None
    rope_attention_factor: float | None = None
    rope_original_max_position_embeddings: int | None = None
    rope_beta_fast: float | None = None
    rope_beta_slow: float | None = None
    rope_mscale: float | None = None
    rope_mscale_all_dim: float | None = None
    rope_truncate: bool | None = None
    full_attention_layers: list[int] | None = None
    sliding_attention_rope_scaling: bool = False

    @property
    def mlp_width(self) -> int:
        return (self.mlp_hidden_size or self.mlp_ratio * self.d_model) // 2

    @property
    def scaled_layers(self) -> list[int] | None:
        """Which layers scale their positions; None where the model has but one kind of layer."""
        if self.full_attention_layers is None or not self.sliding_attention_rope_scaling:
            return self.full_attention_layers
        return [layer for layer in range(self.n_layers) if layer not in self.full_attention_layers]

    def as_text_config(self) -> dict[str, Any]:
        rope = {name: getattr(self, f"rope_{name}") for name in _ROPE_SETTINGS}
        return {
            "hidden_size": self.d_model,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads or self.n_heads,
            "head_dim": self.head_dim or self.d_model // self.n_heads,
            "intermediate_size": self.mlp_width,
            "vocab_size": self.embedding_size or self.vocab_size,
            "additional_vocab_size": self.additional_vocab_size or 0,
            "attention_bias": self.qkv_bias,
            "rms_norm_eps": self.layer_norm_eps,
            "hidden_act": "silu" if self.activation_type == "swiglu" else self.activation_type,
            "use_qk_norm": self.attention_layer_norm,
            "qk_norm_type": self.attention_layer_norm_type,
            "norm_after": self.norm_after,
            "max_position_embeddings": self.max_sequence_length,
            "rope_parameters": {
                "rope_type": self.rope_type,
                "rope_theta": self.rope_theta,
                **{name: value for name, value in rope.items() if value is not None},
            },
            "rope_scaling_layers": self.scaled_layers,
        }


class VitSection(Section):
    """The tower's own settings and those of the pruning."""

    model_config = ConfigDict(extra="allow")

    image_model_type: str = "siglip"
    image_default_input_size: tuple[Size, Size]
    image_patch_size: Size
    image_emb_dim: Size
    image_num_heads: Size
    image_num_key_value_heads: Size | None = None
    image_num_layers: Size
    image_head_dim: Size | None = None
    image_mlp_dim: Size
    image_mlp_activations: str = "gelu_pytorch_tanh"
    image_norm_eps: float = 1e-6
    resize_mode: str = "siglip"
    normalize: str = "siglip"

    def stts(self) -> dict[str, Any] | None:
        """The pruning's settings as `config.json` has them; None for a tower that cannot prune."""
        settings = self.model_extra or {}
        if _PRUNING not in settings:
            return None
        return {name: settings[name] for name in sorted(SttsSection.model_fields.keys() & settings.keys())}


class BackboneSection(Section):
    vit: VitSection
    image_pooling_2d: str = "attention_meanq"
    vit_layers: list[int]


class VideoSection(Section):
    max_fps: float | list[float] | None = None
    max_frames: Size | None = None
    frame_sample_mode: str = "uniform_last_frame"
    pooling_h: Size = 3
    pooling_w: Size = 3
    time_mode: str = "per-frame-compact"
    use_frame_special_tokens: bool = True
    per_frame_special_token: bool = True


class PreprocessorSection(Section):
    video: VideoSection = VideoSection()
    topk: float | None = None
    """Where the run prunes, the share that the tower drops once more: it is what the prompt was counted with."""


class ModelSection(Section):
    llm: LlmSection
    vision_backbone: BackboneSection
    mm_preprocessor: PreprocessorSection = PreprocessorSection()
    bi_directional_attn: str | None = None


class TrainingConfig(Section):
    """What is read of a `config.yaml`."""

    model: ModelSection

    def as_config_json(self, marks: dict[str, int]) -> dict[str, Any]:
        """The newer generation's keys; `marks` are the token numbers of the tokenizer that belongs to the weights."""
        self._refuse_unsupported()
        model, llm, vit = self.model, self.model.llm, self.model.vision_backbone.vit
        return {
            "model_type": "molmo2",
            **marks,
            "tie_word_embeddings": llm.weight_tying,
            "bi_directional_attn": model.bi_directional_attn,
            "vision_config": {
                "hidden_size": vit.image_emb_dim,
                "intermediate_size": vit.image_mlp_dim,
                "num_hidden_layers": vit.image_num_layers,
                "num_attention_heads": vit.image_num_heads,
                "num_key_value_heads": vit.image_num_key_value_heads,
                "head_dim": vit.image_head_dim,
                "hidden_act": vit.image_mlp_activations,
                "layer_norm_eps": vit.image_norm_eps,
                "image_size": vit.image_default_input_size,
                "patch_size": vit.image_patch_size,
            },
            "adapter_config": {
                "vision_feature_layer": model.vision_backbone.vit_layers,
                "hidden_size": vit.image_emb_dim,
                "num_attention_heads": vit.image_num_heads,
                "num_key_value_heads": vit.image_num_key_value_heads,
                "head_dim": vit.image_head_dim or vit.image_emb_dim // vit.image_num_heads,
                "intermediate_size": llm.mlp_width,
                "text_hidden_size": llm.d_model,
            },
            "text_config": llm.as_text_config(),
            "stts": vit.stts(),
        }

    def as_video_processor(self) -> dict[str, Any]:
        """What a video processor's settings would say."""
        video = self.model.mm_preprocessor.video
        rates = video.max_fps if isinstance(video.max_fps, list) else [video.max_fps]
        if len(rates) != 1 or rates[0] is None:
            raise CheckpointError(f"config.yaml: mm_preprocessor.video.max_fps is {rates}; only one rate is supported")
        settings = {"pooling_size": (video.pooling_h, video.pooling_w), "max_fps": rates[0]}
        return settings if video.max_frames is None else {**settings, "num_frames": video.max_frames}

    def _refuse_unsupported(self) -> None:
        """Settings that leave the weights as they are and change what is computed with them."""
        vit, video, llm = self.model.vision_backbone.vit, self.model.mm_preprocessor.video, self.model.llm
        rules: list[tuple[str, object, object]] = [
            ("vision_backbone.vit.image_model_type", vit.image_model_type, "siglip"),
            ("vision_backbone.vit.resize_mode", vit.resize_mode, "siglip"),
            ("vision_backbone.vit.normalize", vit.normalize, "siglip"),
            ("mm_preprocessor.video.frame_sample_mode", video.frame_sample_mode, "uniform_last_frame"),
            ("mm_preprocessor.video.time_mode", video.time_mode, "per-frame-compact"),
            ("mm_preprocessor.video.use_frame_special_tokens", video.use_frame_special_tokens, True),
            ("mm_preprocessor.video.per_frame_special_token", video.per_frame_special_token, True),
            ("vision_backbone.image_pooling_2d", self.model.vision_backbone.image_pooling_2d, "attention_meanq"),
            ("llm.layer_norm_type", llm.layer_norm_type, "rms"),
            ("llm.normalize_input_embeds", llm.normalize_input_embeds, False),
            ("llm.scale_logits", llm.scale_logits, False),
            ("llm.clip_qkv", llm.clip_qkv, None),
            ("llm.rope", llm.rope, True),
        ]
        for name, got, allowed in rules:
            if got != allowed:
                raise CheckpointError(f"config.yaml: model.{name} is {got!r}; only {allowed!r} is supported")
        self._refuse_two_shares()

    def _refuse_two_shares(self) -> None:
        """The prompt must have room for as many groups as the tower keeps."""
        counted, dropped = self.model.mm_preprocessor.topk, (self.model.vision_backbone.vit.stts() or {}).get("topk")
        if None not in (counted, dropped) and counted != dropped:
            raise CheckpointError(
                f"config.yaml: model.mm_preprocessor.topk is {counted} and "
                f"model.vision_backbone.vit.topk is {dropped}; they must be the same"
            )
