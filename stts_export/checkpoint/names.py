"""Weight names: what checkpoints of any layout call a weight -> what `stts_export.modules` calls it.

Source: transformers' `conversion_mapping.py` (key `molmo2`) for the two generations, and the reference implementation
for the scorer's names. Our own names are those of the newer generation without the leading `model.`.
"""

from __future__ import annotations

import re

_RULES: list[tuple[str, str]] = [
    # The scorer may lie under any prefix; it keeps the reference's names in both generations.
    (r"^.*temporal_token_scorer\.", "temporal_token_scorer."),
    (r"^model\.", ""),
    # Before the rename: two trees, `transformer` and `vision_backbone`.
    (r"^transformer\.ln_f\.", "language_model.norm."),
    (r"^transformer\.blocks\.", "language_model.layers."),
    (r"^transformer\.wte\.embedding$", "language_model.embed_tokens.base"),
    (r"^transformer\.wte\.new_embedding$", "language_model.embed_tokens.extra"),
    (r"^transformer\.", "language_model."),
    (r"^vision_backbone\.image_vit\.transformer\.resblocks\.", "vision_tower.layers."),
    (r"^vision_backbone\.image_vit\.", "vision_tower."),
    (r"^vision_backbone\.", "multi_modal_projector."),
    # The training layout has no level between a block and its projections.
    (r"^(language_model\.layers\.\d+)\.(att_proj|attn_out|q_norm|k_norm)\.", r"\1.self_attn.\2."),
    (r"^(language_model\.layers\.\d+)\.(ff_proj|ff_out)\.", r"\1.mlp.\2."),
    (r"^language_model\.ff_out\.", "lm_head."),
    # Inside the blocks.
    (r"\.attention\.w([qkvo])\.", r".self_attn.\1_proj."),
    (r"\.feed_forward\.w([12])\.", r".mlp.fc\1."),
    (r"\.attention_norm\.", ".layer_norm1."),
    (r"\.ffn_norm\.", ".layer_norm2."),
    (r"(image_pooling_2d|patch_token_pooler)\.w([qkvo])\.", r"\1.\2_proj."),
    (r"image_projector\.w1\.", "image_projector.gate_proj."),
    (r"image_projector\.w2\.", "image_projector.down_proj."),
    (r"image_projector\.w3\.", "image_projector.up_proj."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ff_norm\.", ".post_attention_layernorm."),
    (r"\.self_attn\.attn_out\.", ".self_attn.o_proj."),
    (r"\.mlp\.ff_out\.", ".mlp.down_proj."),
    (r"^language_model\.lm_head\.", "lm_head."),
]
_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in _RULES]


def own_name(stored: str) -> str:
    """Our name of a stored weight; names that no rule knows come back as they are."""
    name = stored
    for pattern, replacement in _COMPILED:
        name = pattern.sub(replacement, name)
    return name
