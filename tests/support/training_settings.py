"""All settings that a training run writes into its config.yaml beside those that make the model's shape.

Put down by hand from the dataclasses of allenai/molmo2, with the values of the released runs; none comes from our
tables. `NEWER` and `FLAT` are the two forms that settings of videos came in.
"""

from __future__ import annotations

from typing import Any

LLM: dict[str, Any] = {
    "block_type": "sequential",
    "mlp_ratio": 4,
    "rope_full_precision": True,
    "attention_type": "sdpa",
    "sliding_attention_rope_scaling": False,
    "float32_attention": True,
    "attention_dropout": 0.0,
    "residual_dropout": 0.1,
    "response_residual_dropout": 0.0,
    "layer_norm_with_affine": True,
    "attention_layer_norm_with_affine": True,
    "max_sequence_length": 16384,
    "max_position_embeddings": None,
    "include_bias": False,
    "bias_for_layer_norm": None,
    "moe_num_experts": 8,
    "moe_top_k": 2,
    "moe_mlp_impl": "sparse",
    "moe_log_expert_assignment": False,
    "moe_shared_expert": False,
    "moe_lbl_in_fp32": False,
    "moe_interleave": False,
    "moe_loss_weight": 0.1,
    "moe_zloss_weight": None,
    "moe_dropless": True,
    "moe_capacity_factor": 1.25,
    "embedding_dropout": 0.0,
    "scale_logits": False,
    "use_position_ids": True,
    "tokenizer": {"identifier": "Qwen/Qwen3-4B-Instruct-2507", "tokenizer_dir": None},
    "can_predict_extra_tokens": False,
    "init_path": "${oc.env:MOLMO_DATA_DIR}/pretrained_llms/qwen3-4b-instruct.pt",
    "init_incremental": None,
    "new_embedding_init_range": 0.02,
    "initializer_range": 0.02,
    "normalize_input_embeds": False,
    "activation_checkpoint": "whole_layer",
    "compile": "blocks",
    "fix_pad_tokenizer": True,
    "init_std": 0.02,
    "init_fn": "normal",
    "init_cutoff_factor": None,
    "rope_high_freq_factor": None,
    "rope_low_freq_factor": None,
    "rope_mscale": None,
    "rope_mscale_all_dim": None,
    "rope_truncate": None,
}

VIT: dict[str, Any] = {
    "image_pos_patch_size": 14,
    "image_dropout_rate": 0.0,
    "image_num_pos": 729,
    "attention_dropout": 0.0,
    "residual_dropout": 0.0,
    "initializer_range": 0.02,
    "float32_attention": True,
    "attention_type": "sdpa",
    "sdpa_backend": "all",
    "activation_checkpointing": True,
    "init_path": "${oc.env:MOLMO_DATA_DIR}/pretrained_image_encoders/siglip2-so400m-14-384.pt",
    "pad_value": 0.0,
}

SCORER: dict[str, Any] = {
    "new_ref_threshold": 0.85,
    "sim_reg_loss_coefficient": 0.5,
    "rescale_bias_min": 0.1353352832366127,
}
"""Beside what says where and how much is pruned."""

BACKBONE: dict[str, Any] = {
    "pooling_attention_mask": True,
    "image_projector": "mlp",
    "image_padding_embed": None,
    "skip_unused_layers": True,
    "use_deepstack": False,
    "share_connector": False,
    "image_feature_dropout": 0.0,
    "connector_activation_checkpointing": True,
    "compile_vit": "blocks",
    "compile_connector": "dynamic",
    "normalize_on_gpu": True,
}

_TEXT: dict[str, Any] = {
    "max_answer_len": None,
    "last_message_loss_only": False,
    "max_text_tokens": None,
    "loss_token_weighting": "root_subsegments_root_tokens",
}

_IMAGE: dict[str, Any] = {
    "crop_mode": "overlap-and-resize-c2",
    "use_col_tokens": True,
    "max_crops": 8,
    "high_res_max_crops": 24,
    "p_high_res": 0.0,
    "pooling_w": 2,
    "pooling_h": 2,
    "overlap_margins": [4, 4],
    "max_images": 5,
    "max_multi_image_crops": 8,
    "multi_image_pooling_w": 2,
    "multi_image_pooling_h": 2,
    "use_single_crop_col_tokens": False,
    "use_single_crop_start_token": True,
}

_VIDEO: dict[str, Any] = {
    "max_frames": 64,
    "frame_sample_mode": "uniform_last_frame",
    "candidate_sampling_fps": [0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 16.0],
    "cache_videos": False,
    "loading_method": "torchcodec_exact",
    "max_fps": [2.0],
    "time_sampling": True,
    "time_mode": "per-frame-compact",
    "subtitle_mode": "frame_1",
    "pooling_w": 3,
    "pooling_h": 3,
    "use_frame_special_tokens": True,
    "max_subtitle_tokens": None,
}

NEWER: dict[str, Any] = {**_TEXT, "image": _IMAGE, "video": {**_VIDEO, "per_frame_special_token": True}}

FLAT: dict[str, Any] = {
    **_TEXT,
    **_VIDEO,
    "max_crops": 1,
    "overlap_margins": [4.0, 4.0],
    "use_col_tokens": False,
    "periodic_high_res_frame": None,
    "high_low_train_mode": "local_rnd",
    "high_res_frame_sample_options": None,
    "periodic_sample_rate_training": {4: [0.9, 0.03, 0.03, 0.04], 3: [0.6, 0.2, 0.2]},
    "skip_low_res_in_high_low": False,
    "high_res_pooling_w": 3,
    "high_res_pooling_h": 3,
    "query_based_resolution_selection": False,
    "max_queries_for_resolution_selection": 8,
    "frame_sel_clip_identifier": "google/siglip2-so400m-patch14-384",
    "image_padding_mask": False,
    "image": _IMAGE,
    "prune_from_frame": 0,
}
"""Of the runs with a scorer, which say beside it what share is pruned."""
