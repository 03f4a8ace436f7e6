"""Keys of a `config.yaml` that are not read here: which of them may be passed over, and at which values.

A run's configuration holds every setting of the code that trained it, so it is known in full. What is known to leave
the computed numbers as they are is passed over. Of the rest, a value that asks for nothing is: null, false, or what
the public dataclasses have by default. Anything else could mean another model, and is refused by name.

Source of the defaults: allenai/molmo2 at f3cb108 (`LlmConfig`, `MolmoVisionBackboneConfig`, `VitConfig`,
`Molmo2PreprocessorConfig`, `VideoPreprocessorConfig`), and for flat settings the classes before them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stts_export.errors import CheckpointError

LLM = "llm"
BACKBONE = "vision_backbone"
VIT = "vision_backbone.vit"
PREPROCESSOR = "mm_preprocessor"
VIDEO = "mm_preprocessor.video"

_NO_EFFECT: Mapping[str, Collection[str]] = {
    LLM: (
        # Training, its speed and its beginning.
        "residual_dropout", "response_residual_dropout", "attention_dropout", "embedding_dropout", "init_path",
        "init_incremental", "init_std", "init_fn", "init_cutoff_factor", "initializer_range",
        "new_embedding_init_range", "activation_checkpoint", "compile", "moe_loss_weight", "moe_zloss_weight",
        # How the same attention is computed, and how far positions are tabulated.
        "attention_type", "float32_attention", "rope_full_precision", "max_position_embeddings",
        # The tokenizer is another file, whose numbers are held against the embedding.
        "tokenizer", "fix_pad_tokenizer",
        # Taken out by the code itself.
        "mm_rope", "debug",
    ),
    BACKBONE: (
        "image_feature_dropout", "connector_activation_checkpointing", "compile_vit", "compile_connector", "init_path",
        "fsdp_wrap",
        # Where the same is computed, and which stored layers are left out for having no reader.
        "normalize_on_gpu", "skip_unused_layers",
        # A group that is kept is whole, so the mask hides nothing.
        "pooling_attention_mask",
        # Says how padding is embedded, and `image_padding_embed` whether.
        "fix_image_padding",
    ),
    VIT: (
        "image_dropout_rate", "attention_dropout", "residual_dropout", "initializer_range", "activation_checkpointing",
        "init_path", "attention_type", "sdpa_backend", "float32_attention", "truncate_pos_ids",
        # The stored positions say how many there are.
        "image_num_pos",
        # Of the auxiliary loss, and of pruning without a scorer.
        "sim_reg_loss_coefficient", "new_ref_threshold",
    ),
    PREPROCESSOR: (
        "max_answer_len", "last_message_loss_only", "max_text_tokens", "loss_token_weighting",
        # Pictures: their tokens are looked at, their crops are not made.
        "image",
        # Flat settings about crops and about frames of two resolutions, which there are none of.
        "overlap_margins", "high_low_train_mode", "periodic_sample_rate_training", "high_res_pooling_h",
        "high_res_pooling_w", "max_queries_for_resolution_selection", "frame_sel_clip_identifier",
        "legacy_image_mask", "tokenizer", "max_images", "max_multi_image_crops",
    ),
    VIDEO: (
        # Where frames come from. The times that are asked for are ours.
        "candidate_sampling_fps", "cache_videos", "loading_method", "time_sampling",
        # No subtitles are read.
        "subtitle_mode", "max_subtitle_tokens",
    ),
}  # fmt: skip
"""At any value."""

_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    LLM: {
        "block_type": "sequential", "layer_norm_with_affine": True, "attention_layer_norm_with_affine": True,
        "include_bias": True, "use_position_ids": True, "moe_num_experts": 8, "moe_top_k": 2, "moe_mlp_impl": "sparse",
        "moe_dropless": True, "moe_capacity_factor": 1.25,
    },
    BACKBONE: {
        "image_projector": "mlp",
        # Older keys, which the code takes at these values alone.
        "image_pooling_h": 2, "image_pooling_w": 2, "patch_residual_thresh": 0,
    },
    VIT: {"image_pos_patch_size": 14, "pad_value": 0},
    PREPROCESSOR: {"max_crops": 1, "crop_mode": "resize", "prune_from_frame": 0},
    VIDEO: {},
}  # fmt: skip


def refuse_unread(section: str, given: Mapping[str, object], read: Collection[str]) -> None:
    """`given` is what stands in a section of the model, of which `read` is read. Raises `CheckpointError`."""
    for key, value in given.items():
        default = _DEFAULTS[section].get(key)
        if key in read or key in _NO_EFFECT[section] or value is None or value is False or value == default:
            continue
        allowed = "null and false are" if default is None else f"null, false and {default!r} are"
        raise CheckpointError(
            f"config.yaml: model.{section}.{key} is {_short(value)}, which is not known here and may change what the "
            f"model computes; only {allowed} passed over"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
