"""Weight names: what checkpoints of any layout call a weight <-> what `stts_export.modules` calls it.

Source: transformers' `conversion_mapping.py` (key `molmo2`) for the two generations, and the reference implementation
for the scorer's names. Our own names are those of the newer generation without the leading `model.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stts_export.modules.config import TextConfig

SCORER = "temporal_token_scorer."
SCORER_WIDTH_FROM = f"{SCORER}mlp.w1.weight"
"""Has as many rows as the scorer's MLP is wide."""
HEAD = "lm_head.weight"
_EMBEDDING = "language_model.embed_tokens"
BASE_EMBEDDING = f"{_EMBEDDING}.base"
EXTRA_EMBEDDING = f"{_EMBEDDING}.extra"

_RULES: list[tuple[str, str]] = [
    # The scorer may be under any prefix; it keeps the reference's names in both generations.
    (r"^.*temporal_token_scorer\.", SCORER),
    (r"^model\.", ""),
    # Before the rename: two trees, `transformer` and `vision_backbone`.
    (r"^transformer\.ln_f\.", "language_model.norm."),
    (r"^transformer\.blocks\.", "language_model.layers."),
    (r"^transformer\.wte\.embedding$", BASE_EMBEDDING),
    (r"^transformer\.wte\.new_embedding$", EXTRA_EMBEDDING),
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


def fused_parts(name: str, text: TextConfig) -> list[tuple[str, int]] | None:
    """Weights whose rows lie one after the other in the stored weight of this name of ours, with how many each has.

    None for a weight that is stored by itself.
    """
    if ".self_attn.att_proj." in name:
        queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
        return [(name.replace("att_proj", f"{x}_proj"), queries if x == "q" else keys) for x in "qkv"]
    if ".mlp.ff_proj." in name:
        return [(name.replace("ff_proj", f"{x}_proj"), text.mlp_width) for x in ("up", "gate")]
    if name == f"{_EMBEDDING}.weight":
        return [(BASE_EMBEDDING, text.vocab), (EXTRA_EMBEDDING, text.extra_vocab)]
    return None


def stored_sources(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of the newer Hugging Face generation -> ours, whose rows lie one after the other in them."""
    sources: dict[str, list[str]] = {}
    for name in names:
        if name.startswith(_EMBEDDING):
            continue
        own = name if name == HEAD else f"model.{name}"
        if "patch_token_pooler" in name:
            own = own.replace("q_proj", "wq").replace("k_proj", "wk").replace("v_proj", "wv").replace("o_proj", "wo")
        sources[own.replace("model.temporal", "model.vision_tower.temporal")] = [name]
    sources[f"model.{_EMBEDDING}.weight"] = [BASE_EMBEDDING, EXTRA_EMBEDDING]
    # A tied head is written out (`config_json`).
    sources.setdefault(HEAD, [BASE_EMBEDDING])
    return sources
