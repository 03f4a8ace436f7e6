"""A LoRA merged into a checkpoint is what peft's own merge makes of it; what cannot be merged is said by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Molmo2ForConditionalGeneration

from stts_export.checkpoint.importing import import_checkpoint
from stts_export.errors import CheckpointError
from stts_runtime.errors import UserError
from tests.support.adapters import CONFIG, MODULE, WEIGHTS, write_adapter
from tests.support.training_layout import write_training_layout

# transformers and peft note what is missing and what is unusual.
pytestmark = pytest.mark.filterwarnings("ignore")

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "rank-stabilized, everywhere": {"target_modules": "all-linear", "use_rslora": True},
    "patterns": {
        "target_modules": r".*language_model\.layers\.\d\.(self_attn|mlp)\.(q_proj|down_proj)",
        "rank_pattern": {"q_proj": 6, r"layers\.0\.mlp\.down_proj": 2},
        "alpha_pattern": {r"layers\.1\..*": 3, "q_proj": 64},
    },
    "one layer": {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    "DoRA": {"target_modules": ["o_proj", "gate_proj"], "use_dora": True},
    "biases": {"target_modules": ["fc1", "k_proj"], "bias": "lora_only"},
    "all biases": {"target_modules": ["fc1"], "bias": "all"},
    "modules saved": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "image_projector"]},
    "embedding": {"target_modules": ["embed_tokens", "v_proj"]},
    "fan_in_fan_out": {"target_modules": ["down_proj"], "fan_in_fan_out": True},
}


def trained(checkpoint: Path, out: Path, r: int = 4, **settings: Any) -> dict[str, Tensor]:
    """An adapter as after training; returns the weights that peft merges it to, by transformers' names."""
    base = Molmo2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=r, lora_alpha=8, **settings))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.save_pretrained(str(out))
    again = Molmo2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    merged: dict[str, Tensor] = PeftModel.from_pretrained(again, out).merge_and_unload().state_dict()
    return merged


def assert_same(name: str, got: Tensor, expected: Tensor) -> None:
    """But for the last bit: products of matrices that are cut in other places may differ in it."""
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7, msg=lambda text: f"{name}: {text}")


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return load_file(checkpoint / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_merging_gives_the_weights_that_peft_s_own_merge_gives(
    plain_checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    expected = trained(plain_checkpoint, tmp_path / "adapter", **KINDS[kind])
    import_checkpoint(plain_checkpoint, tmp_path / "out", adapter=tmp_path / "adapter", dtype=torch.float32)
    before, after = weights(plain_checkpoint), weights(tmp_path / "out")
    assert after.keys() == before.keys() <= expected.keys()
    for name, weight in after.items():
        assert_same(name, weight, expected[name])
    changed = {name for name in after if not torch.equal(after[name], before[name].float())}
    theirs = {name for name in after if not torch.equal(expected[name], before[name].float())}
    assert changed == theirs != set()


def test_sums_are_float32_and_what_is_written_has_the_checkpoint_s_type(plain_checkpoint: Path, tmp_path: Path) -> None:
    expected = trained(plain_checkpoint, tmp_path / "adapter", target_modules="all-linear")
    import_checkpoint(plain_checkpoint, tmp_path / "half", dtype=torch.bfloat16)
    merged_from_half = trained(tmp_path / "half", tmp_path / "again", target_modules="all-linear")
    import_checkpoint(tmp_path / "half", tmp_path / "out", adapter=tmp_path / "again")
    after = weights(tmp_path / "out")
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    for name, weight in after.items():
        # Beside a border between two values a last bit of float32 decides.
        is_other = weight != merged_from_half[name].bfloat16()
        assert is_other.float().mean() < 1e-3, name
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(after[name].float(), expected[name])


def test_a_checkpoint_of_the_training_layout_takes_the_same_adapter(plain_checkpoint: Path, tmp_path: Path) -> None:
    """It has one matrix for queries, keys and values, and one for both halves of an MLP."""
    trained(plain_checkpoint, tmp_path / "adapter", target_modules="all-linear", use_dora=True)
    native = write_training_layout(plain_checkpoint, tmp_path / "native", sharded=False, dtype=torch.float32)
    for source, out in ((plain_checkpoint, "of-hugging-face"), (native, "of-native")):
        import_checkpoint(source, tmp_path / out, plain_checkpoint, torch.float32, adapter=tmp_path / "adapter")
    of_native, expected = weights(tmp_path / "of-native"), weights(tmp_path / "of-hugging-face")
    for name, weight in expected.items():
        assert_same(name, of_native[name], weight)


def test_an_adapter_of_the_older_generation_changes_the_parts_of_what_it_knows_as_one(
    plain_checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    """`att_proj` of Molmo2's own code is q_proj, k_proj and v_proj here."""
    before = weights(plain_checkpoint)
    layer = "model.language_model.layers.0.self_attn."
    sizes = [before[f"{layer}{one}_proj.weight"].shape for one in "qkv"]
    rows, width = sum(size[0] for size in sizes), sizes[0][1]
    down, up = torch.randn(4, width), torch.randn(rows, 4)
    module = "base_model.model.model.transformer.blocks.0.self_attn.att_proj"
    save_file({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}, adapter / WEIGHTS)
    import_checkpoint(plain_checkpoint, tmp_path / "out", dtype=torch.float32, adapter=adapter)
    after = weights(tmp_path / "out")
    whole = torch.cat(
        [after[f"{layer}{one}_proj.weight"] - before[f"{layer}{one}_proj.weight"].float() for one in "qkv"]
    )
    torch.testing.assert_close(whole, up @ down * 2, rtol=1e-4, atol=1e-5)


@pytest.fixture
def adapter(tmp_path: Path, plain_checkpoint: Path) -> Path:
    return write_adapter(tmp_path / "adapter", plain_checkpoint)


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**content, **changes}))

    return change


def stored(**tensors: Tensor | None) -> Callable[[Path], None]:
    """Adds tensors to the file, or takes them out; `Q_` stands for the changed module and `__` for a dot."""

    def change(folder: Path) -> None:
        content = load_file(folder / WEIGHTS)
        for name, tensor in tensors.items():
            full = name.replace("Q_", f"{MODULE}.").replace("__", ".")
            content.pop(full, None)
            if tensor is not None:
                content[full] = tensor
        save_file(content, folder / WEIGHTS)

    return change


def as_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (configured(peft_type="IA3"), "peft_type IA3 cannot be merged"),
        (configured(lora_bias=True), "with lora_bias cannot be merged"),
        (configured(alora_invocation_tokens=[5]), "with alora_invocation_tokens cannot be merged"),
        (configured(layer_replication=[[0, 2]]), "with layer_replication cannot be merged"),
        (configured(target_parameters=["w"]), "with target_parameters cannot be merged"),
        (configured(trainable_token_indices=[1]), "with trainable_token_indices cannot be merged"),
        (configured(init_lora_weights="pissa_niter_4"), "init_lora_weights 'pissa_niter_4' .* let peft convert it"),
        (configured(use_dora=True), "q_proj: use_dora is True, which does not go with its matrices"),
        (configured(r=8), "are not a LoRA of rank 8"),
        (configured(rank_pattern={"q_proj": 2}), "are not a LoRA of rank 2"),
        (configured(alpha_pattern={"(": 2}), "the pattern .* is not a regular expression"),
        (configured(r=0), "adapter_config.json: r: "),
        (configured(rank_pattern={"q_proj": 0}), "adapter_config.json: rank_pattern.q_proj: "),
        (stored(Q_lora_B__weight=None), "holds no .*q_proj.lora_B, though the other matrix is there"),
        (stored(Q_lora_B__bias=torch.ones(4)), "q_proj.lora_B.bias, which cannot be merged"),
        (stored(Q_lora_diag=torch.ones(4)), "q_proj.lora_diag, which cannot be merged"),
        (stored(Q_lora_magnitude_vector=torch.ones(4)), "use_dora is False, which does not go with its matrices"),
        (stored(Q_lora_A__weight=torch.ones(4, 5)), r"another base: it changes .*q_proj.weight of shape \[\d+, 5\]"),
        (stored(Q_lora_A__weight=torch.full((4, 48), torch.nan)), "values that are not finite"),
        (
            stored(score__weight=torch.ones(3, 3)),
            "another base: it changes score.weight, which this checkpoint does not",
        ),
        (as_pickle, "holds adapter_model.bin, a pickle, which is not read"),
        (lambda folder: (folder / WEIGHTS).unlink(), "neither adapter_model.safetensors nor"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
        (lambda folder: (folder / CONFIG).unlink(), "is not an adapter: it holds no adapter_config.json"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name_and_nothing_stays(
    plain_checkpoint: Path, adapter: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    change(adapter)
    with pytest.raises(CheckpointError, match=words) as refused:
        import_checkpoint(plain_checkpoint, tmp_path / "out", adapter=adapter)
    assert "\n" not in str(refused.value)
    assert {place.name for place in tmp_path.iterdir()} <= {"adapter"}


def test_a_tied_checkpoint_s_embedding_is_not_merged_into(plain_checkpoint: Path, tmp_path: Path) -> None:
    """Training changed it where words are read, and merging would change it where they are said as well."""
    trained(plain_checkpoint, tmp_path / "adapter", target_modules=["embed_tokens"])
    tied = write_training_layout(plain_checkpoint, tmp_path / "tied", sharded=False, dtype=torch.float32, tied=True)
    with pytest.raises(
        CheckpointError, match=r"embed_tokens\.base, which cannot be merged: this checkpoint.s head is its embedding"
    ):
        import_checkpoint(tied, tmp_path / "out", plain_checkpoint, adapter=tmp_path / "adapter")


def test_a_base_of_another_name_is_noted(plain_checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    configured(base_model_name_or_path="allenai/Molmo2-4B")(adapter)
    notes = import_checkpoint(plain_checkpoint, tmp_path / "out", adapter=adapter)
    assert notes[0] == f"merged {adapter}, which changes 1 stored weights"
    assert notes[1].startswith("the adapter was trained on allenai/Molmo2-4B, and only shapes say that ")
    configured(base_model_name_or_path=f"someone/{plain_checkpoint.name}")(adapter)
    assert len(import_checkpoint(plain_checkpoint, tmp_path / "again", adapter=adapter)) == len(notes) - 1


def test_an_adapter_where_the_output_goes_is_left_alone(plain_checkpoint: Path, adapter: Path) -> None:
    before = {place.name: place.read_bytes() for place in adapter.iterdir()}
    with pytest.raises(UserError, match="must not contain each other"):
        import_checkpoint(plain_checkpoint, adapter, replace=True, adapter=adapter)
    assert {place.name: place.read_bytes() for place in adapter.iterdir()} == before
