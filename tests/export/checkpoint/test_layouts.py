"""Every layout that checkpoints come in reads the same, and `import` writes it so that transformers reads it too."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Molmo2Config, Molmo2ForConditionalGeneration

from stts_export.checkpoint import open_checkpoint
from stts_export.checkpoint.importing import import_checkpoint
from stts_export.errors import CheckpointError
from stts_runtime.budget import TokenBudget
from stts_runtime.errors import UserError
from stts_runtime.prompt import PromptBuilder
from tests.support.training_layout import write_training_layout

GENERATED = 12

pytestmark = pytest.mark.filterwarnings("ignore")


def all_weights(folder: Path, tokenizer: Path | None = None) -> dict[str, Tensor]:
    modules = open_checkpoint(folder, tokenizer).load()
    return {**modules.vision.state_dict(), **modules.language.state_dict()}


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    different = [name for name, tensor in one.items() if not torch.equal(tensor, two[name])]
    assert not different


def greedy(folder: Path, tokenizer: Path | None = None) -> list[int]:
    """What the torch modules answer about some frames, at keep 0.5 where there is a scorer."""
    checkpoint = open_checkpoint(folder, tokenizer)
    modules = checkpoint.load()
    config, keep = checkpoint.config, 1.0 if checkpoint.config.scorer is None else 0.5
    generator = torch.Generator().manual_seed(5)
    frames = torch.randint(0, 256, (3, 84, 84, 3), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        seen = modules.vision(frames, TokenBudget(3, config.vision.groups, keep))
        text = PromptBuilder(checkpoint.text.tokenizer, _prompt(checkpoint))
        kept = torch.ones(3, config.vision.groups, dtype=torch.bool)
        if seen.kept_K is not None:
            kept = (
                torch.zeros(kept.numel(), dtype=torch.bool).index_fill(0, seen.kept_K, value=True).reshape(kept.shape)
            )
        video = text.video([0.0, 0.5, 1.0], kept.numpy())
        ids = [*video.ids, *text.question("What happens?", video).ids]
        start, position = 0, 0
        caches, call, answer = modules.language.empty_caches(len(ids) + GENERATED), ids, []
        for _ in range(GENERATED):
            positions = torch.arange(position, position + len(call))
            output = modules.language(
                torch.tensor(call), positions, torch.tensor([start]), seen.visual_tokens_KW, caches
            )
            start, position, caches = start + len(call), position + len(call), output.caches
            call = output.next_token.tolist()
            answer += call
    return answer


def _prompt(checkpoint: Any) -> Any:
    from stts_export.building import BuildRequest
    from stts_export.building.plan import plan_bundle

    request = BuildRequest(checkpoint.path, Path("unused"), [1], [1.0], ["clip"])
    return plan_bundle(request, checkpoint).prompt


def layouts(source: Path, out: Path) -> dict[str, Path]:
    out.mkdir()
    return {
        "model.pt": write_training_layout(source, out / "pt", sharded=False, dtype=torch.float32),
        "model_and_optim": write_training_layout(source, out / "shards", sharded=True, dtype=torch.float32),
        "model.pt in bf16": write_training_layout(source, out / "bf16", sharded=False, dtype=torch.bfloat16),
    }


@pytest.mark.parametrize("form", ["qwen", "olmo"])
def test_the_training_layout_comes_through_import_with_the_same_text(
    micro_checkpoint: Path, olmo_checkpoint: Path, tmp_path: Path, form: str
) -> None:
    source = micro_checkpoint if form == "qwen" else olmo_checkpoint
    expected = greedy(source)
    assert len(set(expected)) > 2, "a constant answer would prove little"
    for name, layout in layouts(source, tmp_path / "layouts").items():
        out = tmp_path / f"imported {name}"
        import_checkpoint(layout, out, tokenizer=source)
        assert open_checkpoint(out).config == open_checkpoint(layout, source).config
        assert_same(all_weights(out), all_weights(layout, source))
        assert greedy(out) == greedy(layout, source), name
        if "bf16" not in name:
            assert_same(all_weights(out), all_weights(source))
            assert greedy(out) == expected, name


def test_the_settings_of_an_older_run_are_those_of_a_newer_one(
    training: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    older = write_training_layout(micro_checkpoint, tmp_path / "flat", sharded=False, dtype=torch.float32, flat=True)
    newer, found = (open_checkpoint(layout, micro_checkpoint) for layout in (training, older))
    assert found.config == newer.config == open_checkpoint(micro_checkpoint).config
    assert (found.max_fps, found.max_frames) == (newer.max_fps, newer.max_frames) == (2.0, 64)
    assert_same(all_weights(older, micro_checkpoint), all_weights(micro_checkpoint))


def test_stored_types_are_kept_unless_another_is_asked_for(micro_checkpoint: Path, tmp_path: Path) -> None:
    layout = write_training_layout(micro_checkpoint, tmp_path / "bf16", sharded=False, dtype=torch.bfloat16)
    for out, dtype, expected in (("kept", None, torch.bfloat16), ("halved", torch.float16, torch.float16)):
        import_checkpoint(layout, tmp_path / out, micro_checkpoint, dtype)
        weights = load_file(tmp_path / out / "model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {expected}
        assert json.loads((tmp_path / out / "config.json").read_text())["dtype"] == str(expected)[6:]
        settings = json.loads((tmp_path / out / "video_preprocessor_config.json").read_text())
        assert settings == {"pooling_size": [3, 3], "max_fps": 2.0, "num_frames": 64}


@pytest.mark.parametrize("form", ["plain", "olmo"])
@pytest.mark.parametrize("original", [True, False], ids=["older", "newer"])
def test_what_transformers_saves_is_read_and_imported_so_that_transformers_says_the_same(
    plain_checkpoint: Path, olmo_checkpoint: Path, tmp_path: Path, form: str, original: bool
) -> None:
    source = plain_checkpoint if form == "plain" else olmo_checkpoint
    config = Molmo2Config.from_pretrained(source)
    torch.manual_seed(8)
    theirs = Molmo2ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.05)
    saved = tmp_path / "saved"
    theirs.save_pretrained(saved, save_original_format=original, max_shard_size="100KB")
    names = json.loads((saved / "model.safetensors.index.json").read_text())["weight_map"]
    assert any(".blocks." in name for name in names) == original
    for side in ("tokenizer.json", "tokenizer_config.json", "video_preprocessor_config.json"):
        shutil.copy(source / side, saved / side)
    import_checkpoint(saved, tmp_path / "imported")
    assert_same(all_weights(tmp_path / "imported"), all_weights(saved))
    again = Molmo2ForConditionalGeneration.from_pretrained(tmp_path / "imported", dtype=torch.float32).eval()
    ids = torch.randint(0, 250, (1, 60), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, theirs(input_ids=ids).logits)
        modules = open_checkpoint(saved).load()
        caches, zero = modules.language.empty_caches(60), torch.zeros(1, dtype=torch.int64)
        ours = modules.language(ids[0], torch.arange(60), zero, torch.zeros(1, 48), caches).logits[0]
        assert (ours - theirs(input_ids=ids).logits[0, -1]).abs().max() < 1e-4


def test_a_head_tied_in_training_is_written_out_and_held_once(plain_checkpoint: Path, tmp_path: Path) -> None:
    tied = write_training_layout(plain_checkpoint, tmp_path / "tied", sharded=False, dtype=torch.float32, tied=True)
    import_checkpoint(tied, tmp_path / "imported", plain_checkpoint)
    weights = load_file(tmp_path / "imported" / "model.safetensors")
    assert torch.equal(weights["lm_head.weight"], weights["model.language_model.embed_tokens.weight"][:-128])
    modules = open_checkpoint(tmp_path / "imported").load()
    assert modules.language.lm_head is None
    assert any("equals the embedding" in note for note in modules.notes)
    assert greedy(tmp_path / "imported") == greedy(tied, plain_checkpoint)


@pytest.fixture
def training(micro_checkpoint: Path, tmp_path: Path) -> Path:
    return write_training_layout(micro_checkpoint, tmp_path / "training", sharded=False, dtype=torch.float32)


@pytest.fixture
def shards(micro_checkpoint: Path, tmp_path: Path) -> Path:
    return write_training_layout(micro_checkpoint, tmp_path / "shards", sharded=True, dtype=torch.float32)


def change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load((folder / "config.yaml").read_text())
    change(content["model"])
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def test_without_a_tokenizer_the_command_that_takes_one_is_named(training: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no tokenizer\.json.*stts-export import .*--tokenizer"):
        open_checkpoint(training)


def test_a_tokenizer_may_lie_beside_the_weights(training: Path, micro_checkpoint: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(micro_checkpoint / name, training / name)
    assert open_checkpoint(training).config == open_checkpoint(micro_checkpoint).config


def test_the_file_itself_may_be_named(training: Path, micro_checkpoint: Path) -> None:
    assert open_checkpoint(training, micro_checkpoint / "tokenizer.json").text.opening == "<|im_end|>"
    with pytest.raises(CheckpointError, match=r"no such folder: .*nowhere"):
        open_checkpoint(training, micro_checkpoint / "nowhere")


def test_the_models_section_alone_is_a_configuration_too(training: Path, micro_checkpoint: Path) -> None:
    content = yaml.safe_load((training / "config.yaml").read_text())["model"]
    (training / "config.yaml").write_text(yaml.safe_dump(content))
    assert open_checkpoint(training, micro_checkpoint).config == open_checkpoint(micro_checkpoint).config


def test_another_models_tokenizer_is_refused(training: Path, micro_checkpoint: Path) -> None:
    change_config(training, lambda model: model["llm"].update(embedding_size=400))
    with pytest.raises(CheckpointError, match="another model's tokenizer"):
        open_checkpoint(training, micro_checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model["llm"].pop("layer_norm_eps"), r"model\.llm\.layer_norm_eps"),
        (lambda model: model["llm"].update(attention_layer_norm=False), "use_qk_norm is False"),
        (lambda model: model["llm"].update(activation_type="relu"), r"config\.yaml: .*hidden_act is 'relu'"),
        (lambda model: model["llm"].update(layer_norm_type="default"), r"llm\.layer_norm_type is 'default'"),
        (lambda model: model["llm"].update(scale_logits=True), "scale_logits is True"),
        (lambda model: model["llm"].update(rope_theta=1), "rope_theta"),
        (
            lambda model: model["vision_backbone"].update(image_pooling_2d="attention"),
            "image_pooling_2d is 'attention'",
        ),
        (
            lambda model: model["mm_preprocessor"]["video"].update(per_frame_special_token=False),
            "per_frame_special_token is False",
        ),
        (lambda model: model["vision_backbone"]["vit"].update(image_model_type="dino"), "image_model_type is 'dino'"),
        (lambda model: model["vision_backbone"]["vit"].update(merge=True), "merge is True"),
        (lambda model: model["mm_preprocessor"]["video"].update(max_fps=[1.0, 2.0]), "only one rate"),
        (lambda model: model["mm_preprocessor"]["video"].update(time_mode="none"), "time_mode is 'none'"),
        (lambda model: model.pop("vision_backbone"), r"model\.vision_backbone"),
        (lambda model: model.update(bi_directional_attn="within_image"), "bi_directional_attn is 'within_image'"),
    ],
)
def test_unsupported_training_settings_are_refused_by_name(
    training: Path, micro_checkpoint: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    change_config(training, change)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(training, micro_checkpoint)


@pytest.mark.parametrize(
    "content", ["", "[", "a: &a [*a]", "!!python/object/apply:os.system [true]", "\0", "model: 5", "a: 2025-31-12"]
)
def test_a_config_that_is_no_plain_yaml_is_refused(training: Path, micro_checkpoint: Path, content: str) -> None:
    (training / "config.yaml").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        open_checkpoint(training, micro_checkpoint)


class Planted:
    """Runs code when it is unpickled, where that is allowed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "it ran")


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    training: Path, shards: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    torch.save({"a": Planted(tmp_path / "ran")}, training / "model.pt")
    (shards / "model_and_optim" / ".metadata").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    for folder in (training, shards):
        with pytest.raises(CheckpointError, match=r"is damaged, or "):
            open_checkpoint(folder, micro_checkpoint)
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_damaged(training: Path, micro_checkpoint: Path) -> None:
    content = (training / "model.pt").read_bytes()
    (training / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"model\.pt is damaged"):
        open_checkpoint(training, micro_checkpoint)


def test_a_lost_or_truncated_shard_is_named(shards: Path, micro_checkpoint: Path) -> None:
    (shard,) = (shards / "model_and_optim").glob("*.distcp")
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"weight \S+ cannot be read from .*model_and_optim"):
        open_checkpoint(shards, micro_checkpoint).load()
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"weight \S+ cannot be read from .*model_and_optim"):
        open_checkpoint(shards, micro_checkpoint).load()
    (shards / "model_and_optim" / ".metadata").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \.metadata"):
        open_checkpoint(shards, micro_checkpoint)


def test_a_folder_without_weights_says_which_are_looked_for(training: Path, micro_checkpoint: Path) -> None:
    (training / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.pt nor model_and_optim/ is there"):
        open_checkpoint(training, micro_checkpoint)


def test_import_leaves_nothing_half_written(micro_checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(micro_checkpoint, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    weights["model.vision_tower.layers.2.mlp.fc1.weight"][0, 0] = float("nan")
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        import_checkpoint(copy, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}
    with pytest.raises(UserError, match="must not contain each other"):
        import_checkpoint(micro_checkpoint, micro_checkpoint / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(UserError):
        import_checkpoint(micro_checkpoint, tmp_path / "out", replace=True)
    assert (tmp_path / "out" / "precious").exists()
