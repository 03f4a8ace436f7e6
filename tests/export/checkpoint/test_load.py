"""Reading checkpoints: both generations of names and keys, shards, and everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stts_export.checkpoint import open_checkpoint
from stts_export.checkpoint.safetensors_files import INDEX, SINGLE
from stts_export.errors import CheckpointError
from tests.support.training_layout import VISION_BLOCK

# The older generation's names, written down from the released checkpoints' layout and not from our own table.
OLDER_TEXT = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.o_proj": "self_attn.attn_out",
    "mlp.down_proj": "mlp.ff_out",
    "self_attn.q_norm": "self_attn.q_norm",
    "self_attn.k_norm": "self_attn.k_norm",
}

OLDER_TREES = {
    "lm_head.": "lm_head.",
    "model.language_model.norm.": "model.transformer.ln_f.",
    "model.multi_modal_projector.image_pooling_2d.q_proj": "model.vision_backbone.image_pooling_2d.wq",
    "model.multi_modal_projector.image_pooling_2d.k_proj": "model.vision_backbone.image_pooling_2d.wk",
    "model.multi_modal_projector.image_pooling_2d.v_proj": "model.vision_backbone.image_pooling_2d.wv",
    "model.multi_modal_projector.image_pooling_2d.o_proj": "model.vision_backbone.image_pooling_2d.wo",
    "model.multi_modal_projector.image_projector.gate_proj": "model.vision_backbone.image_projector.w1",
    "model.multi_modal_projector.image_projector.down_proj": "model.vision_backbone.image_projector.w2",
    "model.multi_modal_projector.image_projector.up_proj": "model.vision_backbone.image_projector.w3",
    "model.vision_tower.": "model.vision_backbone.image_vit.",
}


@pytest.fixture
def copy(micro_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_checkpoint, tmp_path / "checkpoint"))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    weights = load_file(folder / SINGLE)
    change(weights)
    save_file(weights, folder / SINGLE)


def set_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        target = content
        *parents, last = key.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(content))


def older_name(name: str) -> str | None:
    """What the older generation calls a weight; None for those that it fuses or splits."""
    vit, text = "model.vision_backbone.image_vit.", "model.language_model.layers."
    if "temporal_token_scorer" in name:
        return f"{vit}transformer.temporal_token_scorer{name.partition('temporal_token_scorer')[2]}"
    if name.startswith(text):
        layer, _, inner = name.removeprefix(text).removesuffix(".weight").partition(".")
        return f"model.transformer.blocks.{layer}.{OLDER_TEXT[inner]}.weight" if inner in OLDER_TEXT else None
    if name.startswith("model.vision_tower.layers."):
        layer, _, rest = name.removeprefix("model.vision_tower.layers.").partition(".")
        inner, _, kind = rest.rpartition(".")
        return f"{vit}transformer.resblocks.{layer}.{VISION_BLOCK[inner]}.{kind}"
    for new, old in OLDER_TREES.items():
        if name.startswith(new):
            return name.replace(new, old)
    return None


def older_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as the older generation stores them: two trees, fused projections, a split embedding."""
    older = {renamed: tensor for name, tensor in weights.items() if (renamed := older_name(name))}
    text = "model.language_model."

    def fused(layer: int, names: list[str]) -> Tensor:
        return torch.cat([weights[f"{text}layers.{layer}.{name}.weight"] for name in names])

    for layer in range(2):
        block = f"model.transformer.blocks.{layer}"
        older[f"{block}.self_attn.att_proj.weight"] = fused(layer, [f"self_attn.{x}_proj" for x in "qkv"])
        older[f"{block}.mlp.ff_proj.weight"] = fused(layer, ["mlp.up_proj", "mlp.gate_proj"])
    embedding = weights[f"{text}embed_tokens.weight"]
    older["model.transformer.wte.embedding"] = embedding[:-128].clone()
    older["model.transformer.wte.new_embedding"] = embedding[-128:].clone()
    return older


def all_weights(folder: Path) -> dict[str, Tensor]:
    checkpoint = open_checkpoint(folder).load()
    return {**checkpoint.vision.state_dict(), **checkpoint.language.state_dict()}


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = all_weights(first), all_weights(second)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


def test_the_older_generation_reads_the_same(micro_checkpoint: Path, copy: Path) -> None:
    save_file(older_weights(load_file(copy / SINGLE)), copy / SINGLE)
    content = json.loads((copy / "config.json").read_text())
    vision = content.pop("vision_config")
    # Released configurations declare more layers than they store, and count the features from the declared end.
    vision["num_hidden_layers"] = 7
    vision["image_default_input_size"] = vision.pop("image_size")
    vision["image_patch_size"] = vision.pop("patch_size")
    content["vit_config"] = vision
    content["adapter_config"]["vit_layers"] = [-3, -5]
    del content["adapter_config"]["vision_feature_layer"]
    text = content["text_config"]
    text["rope_theta"], text["rope_scaling"] = text.pop("rope_parameters")["rope_theta"], None
    text["qkv_bias"], text["layer_norm_eps"], text["use_qk_norm"] = False, 1e-6, True
    (copy / "config.json").write_text(json.dumps(content))
    assert_same_weights(micro_checkpoint, copy)
    assert open_checkpoint(copy).config == open_checkpoint(micro_checkpoint).config


def test_shards_read_the_same(micro_checkpoint: Path, copy: Path) -> None:
    weights = load_file(copy / SINGLE)
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, copy / shard)
    weight_map = {name: shard for shard, held in shards.items() for name in held}
    (copy / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    (copy / SINGLE).unlink()
    assert_same_weights(micro_checkpoint, copy)
    (copy / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"b\.safetensors is missing"):
        open_checkpoint(copy).load()


def test_a_tied_head_is_the_embedding(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.pop("lm_head.weight"))
    set_config(copy, tie_word_embeddings=True)
    checkpoint = open_checkpoint(copy).load()
    assert checkpoint.language.lm_head is None
    ids = torch.tensor([1, 2])
    caches, start = checkpoint.language.empty_caches(4), torch.zeros(1, dtype=torch.int64)
    output = checkpoint.language(ids, ids, start, torch.zeros(1, 48), caches)
    assert output.logits.shape == (1, 259)


def test_a_tied_head_that_differs_is_refused(copy: Path) -> None:
    set_config(copy, tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match=r"the stored lm_head\.weight differs"):
        open_checkpoint(copy).load()


def test_deeper_vision_layers_are_ignored_with_a_note(copy: Path) -> None:
    set_config(copy, adapter_config__vision_feature_layer=[3, 2])
    checkpoint = open_checkpoint(copy)
    assert checkpoint.config.vision.layers == 4
    assert any("deeper than 3" in note for note in checkpoint.load().notes)


def test_a_checkpoint_without_scorer_loads_plain(plain_checkpoint: Path) -> None:
    assert open_checkpoint(plain_checkpoint).config.scorer is None


def test_a_missing_weight_is_named(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.pop("model.vision_tower.layers.2.mlp.fc1.bias"))
    with pytest.raises(CheckpointError, match=r"1 missing: vision_tower\.layers\.2\.mlp\.fc1\.bias"):
        open_checkpoint(copy).load()


def test_an_unknown_weight_is_named(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.update({"model.vision_tower.cls_token": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"1 unknown: vision_tower\.cls_token"):
        open_checkpoint(copy).load()


def test_a_weight_of_the_wrong_shape_is_named(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.update({"lm_head.weight": torch.zeros(259, 47)}))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is \[259, 47\], expected \[259, 48\]"):
        open_checkpoint(copy).load()


def test_a_truncated_file_is_damaged(copy: Path) -> None:
    content = (copy / SINGLE).read_bytes()
    (copy / SINGLE).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        open_checkpoint(copy).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stts__prune_method": "random"}, "prune_method is 'random'; only 'scorer'"),
        ({"stts__prune_from_frame": 2}, "prune_from_frame is 2"),
        ({"stts__pruning_in_scorer": False}, "pruning_in_scorer is False"),
        ({"stts__merge": True}, "merge is True"),
        ({"stts__prune_at": 4}, "prune_at is 4"),
        ({"stts__topk": 1.5}, r"stts\.topk"),
        ({"bi_directional_attn": "within_image"}, "bi_directional_attn is 'within_image'"),
        ({"text_config__qk_norm_type": "other"}, "qk_norm_type"),
        ({"text_config__use_qk_norm": False}, "use_qk_norm is False"),
        ({"text_config__rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0}}, "type 'dynamic'"),
        ({"text_config__rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0}}, "type 'yarn' needs factor"),
        (
            {
                "text_config__rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
                "text_config__rope_scaling_layers": [2],
            },
            r"rope_scaling_layers \[2\] are not among the 2",
        ),
        ({"vision_config__image_size": [280, 280]}, "20x20 patches does not divide"),
        ({"vision_config__image_size": [100, 100]}, "do not divide into square 14 pixel patches"),
        ({"model_type": "llava"}, "model_type"),
        ({"adapter_config__vision_feature_layer": [9]}, "not among the 5 vision layers"),
    ],
)
def test_unsupported_settings_are_refused_by_name(copy: Path, changes: dict[str, Any], message: str) -> None:
    set_config(copy, **changes)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(copy).load()


def test_prune_false_means_plain_molmo2(copy: Path) -> None:
    set_config(copy, stts__prune=False)
    checkpoint = open_checkpoint(copy)
    assert checkpoint.config.scorer is None
    assert any("scorer" in note for note in checkpoint.load().notes)


def test_a_tokenizer_with_other_marks_is_refused(copy: Path) -> None:
    set_config(copy, image_patch_id=300)
    with pytest.raises(CheckpointError, match="<im_patch>"):
        open_checkpoint(copy).load()


def test_a_partial_scorer_is_not_taken_for_none(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.pop("model.vision_tower.temporal_token_scorer.mlp.w1.weight"))
    with pytest.raises(CheckpointError, match=r"has a scorer, but its .*mlp\.w1\.weight is missing"):
        open_checkpoint(copy)


def test_a_weight_that_the_index_does_not_name_is_refused(copy: Path) -> None:
    weights = load_file(copy / SINGLE)
    (copy / SINGLE).rename(copy / "a.safetensors")
    listed = dict.fromkeys(sorted(weights)[1:], "a.safetensors")
    (copy / INDEX).write_text(json.dumps({"weight_map": listed}))
    with pytest.raises(CheckpointError, match=r"stored in a\.safetensors, and .* says no file"):
        open_checkpoint(copy)


def test_a_weight_must_be_in_the_shard_that_the_index_names_and_in_no_other(copy: Path) -> None:
    weights = load_file(copy / SINGLE)
    (copy / SINGLE).unlink()
    head = {"lm_head.weight": weights.pop("lm_head.weight")}
    save_file(weights, copy / "a.safetensors")
    save_file(head, copy / "b.safetensors")
    swapped = {**dict.fromkeys(weights, "b.safetensors"), "lm_head.weight": "a.safetensors"}
    (copy / INDEX).write_text(json.dumps({"weight_map": swapped}))
    with pytest.raises(
        CheckpointError, match=r"lm_head\.weight is stored in b\.safetensors, and .* says a\.safetensors"
    ):
        open_checkpoint(copy)
    save_file({**weights, **head}, copy / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is stored twice"):
        open_checkpoint(copy)


@pytest.mark.parametrize("shard", ["../a.safetensors", "/etc/passwd", ""])
def test_an_index_does_not_lead_out_of_the_folder(copy: Path, shard: str) -> None:
    (copy / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(CheckpointError):
        open_checkpoint(copy)


def test_values_that_are_not_finite_are_named(copy: Path) -> None:
    rewrite(copy, lambda weights: weights["model.language_model.norm.weight"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"model\.language_model\.norm\.weight holds values that are not finite"):
        open_checkpoint(copy).load()


def test_integer_weights_are_refused_and_not_cast(copy: Path) -> None:
    name = "model.language_model.norm.weight"
    rewrite(copy, lambda weights: weights.update({name: weights[name].long()}))
    with pytest.raises(CheckpointError, match=r"norm\.weight in .* is I64; only float16, bfloat16, float32"):
        open_checkpoint(copy)


WRONG_FILES = [
    ("generation_config.json", '{"eos_token_id": "x"}'),
    ("tokenizer_config.json", '{"eos_token": 5}'),
    ("tokenizer_config.json", "[" * 100_000),
    ("tokenizer_config.json", "{}"),
    ("tokenizer.json", "{}"),
    ("tokenizer.json", "\0"),
    ("video_preprocessor_config.json", '{"max_fps": 0}'),
    ("video_preprocessor_config.json", '{"max_fps": null}'),
    ("video_preprocessor_config.json", '{"pooling_size": [0, 0]}'),
    ("video_preprocessor_config.json", '{"pooling_size": [3]}'),
    ("video_preprocessor_config.json", '{"pooling_size": [3, 2]}'),
    ("config.json", "[]"),
    ("config.json", "{"),
    ("config.json", '{"model_type": "molmo2"}'),
    (INDEX, '{"a": 5}'),
    (INDEX, '{"weight_map": {"a": 5}}'),
    (INDEX, '{"weight_map": {}}'),
]


@pytest.mark.parametrize(("name", "content"), WRONG_FILES)
def test_a_damaged_side_file_is_a_checkpoint_error(copy: Path, name: str, content: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(CheckpointError):
        open_checkpoint(copy).load()


@pytest.mark.parametrize("eos", ["null", "258", "[256, 258]"])
def test_generation_settings_add_ends_of_text(copy: Path, eos: str) -> None:
    (copy / "generation_config.json").write_text(f'{{"eos_token_id": {eos}}}')
    expected = {"null": (258,), "258": (258,), "[256, 258]": (256, 258)}[eos]
    assert open_checkpoint(copy).text.eos_ids == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_config__image_size": [84]},
        {"vision_config__patch_size": 0},
        {"vision_config__num_hidden_layers": 1_000_000},
        {"vision_config__layer_norm_eps": -1},
        {"text_config__num_key_value_heads": 0},
        {"text_config__num_key_value_heads": 3},
        {"text_config__rope_parameters": {"rope_theta": "abc"}},
        {"text_config__rope_parameters": {"rope_theta": 0}},
        {"text_config__head_dim": 11},
        {"stts__rescale_bias_min": 0},
        {"stts__prune_at": -1},
        {"adapter_config__vision_feature_layer": []},
    ],
)
def test_impossible_settings_are_checkpoint_errors(copy: Path, changes: dict[str, Any]) -> None:
    set_config(copy, **changes)
    with pytest.raises(CheckpointError):
        open_checkpoint(copy).load()
