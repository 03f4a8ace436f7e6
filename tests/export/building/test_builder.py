"""Building: what is refused, what is left behind, and that the shipped graphs are what they claim to be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stts_export.building import BuildRequest, build_bundle, builder, bundle_writer, memory
from stts_export.checkpoint import safetensors_writer
from stts_export.checkpoint.safetensors_files import SINGLE
from stts_export.errors import CheckpointError, ExportError
from stts_export.graphs import check
from stts_export.graphs.segments import run_in_segments
from stts_export.lowering import LOWERINGS, TARGETS
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.publish import published
from stts_runtime.errors import UserError
from stts_runtime.references.bars import ROUNDING
from tests.export.checkpoint.test_load import older_weights


def request(checkpoint: Path, out: Path, **changes: object) -> BuildRequest:
    settings: dict[str, Any] = {"frames": [2], "keeps": [1.0, 0.5], "budgets": ["clip"], **changes}
    return BuildRequest(checkpoint, out, **settings)


def test_vision_graphs_have_constant_shapes_and_standard_operators(micro_bundle: Bundle) -> None:
    for variant in micro_bundle.manifest.variants.values():
        graph = onnx.load(micro_bundle.folder / variant.graphs["cpu"].graph, load_external_data=False)
        assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 24)]
        assert {node.domain for node in graph.graph.node} == {""}
        assert not {"Loop", "If", "Scan", "NonZero"} & {node.op_type for node in graph.graph.node}
        for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
            assert all(size.HasField("dim_value") for size in value.type.tensor_type.shape.dim), value.name


def test_the_language_graph_has_one_symbolic_length(micro_bundle: Bundle) -> None:
    graph = onnx.load(micro_bundle.folder / "language.onnx", load_external_data=False).graph
    symbols = {size.dim_param for value in graph.input for size in value.type.tensor_type.shape.dim if size.dim_param}
    assert len(symbols) == 1
    assert "TensorScatter" in {node.op_type for node in graph.node}


def test_weights_are_on_disk_once(micro_bundle: Bundle) -> None:
    files = {path.name for path in micro_bundle.folder.iterdir() if path.suffix == ".safetensors"}
    assert files == {"vision.safetensors", "language.safetensors"}
    for graphs in micro_bundle.manifest.parts().values():
        cpu = graphs["cpu"]
        with safe_open(micro_bundle.folder / cpu.weights, framework="np") as opened:
            stored = set(opened.keys())
        graph = onnx.load(micro_bundle.folder / cpu.graph, load_external_data=False).graph
        referred = {tensor.name for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL}
        inline = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in referred}
        assert referred <= stored
        assert len(referred) > 20
        assert not stored & inline.keys()
        # What is left are constants of shapes and slots; the only matrices of real numbers are blank frames.
        matrices = [t for t in inline.values() if t.data_type == TensorProto.FLOAT and len(t.dims) >= 2]
        assert not [t.name for t in matrices if numpy_helper.to_array(t).any()]


def test_graphs_tell_nothing_about_the_build_machine(micro_bundle: Bundle) -> None:
    for graphs in micro_bundle.manifest.parts().values():
        content = (micro_bundle.folder / graphs["cpu"].graph).read_bytes()
        assert not re.search(rb"stts_export/modules|site-packages|/home/|/root/|File \"", content)


def test_segments_give_what_the_whole_graph_gives(micro_bundle: Bundle) -> None:
    path = micro_bundle.folder / "vision.clip-t3-k0.5.onnx"
    frames = np.random.default_rng(0).integers(0, 256, (3, 84, 84, 3), dtype=np.uint8)
    whole = run_in_segments(path, micro_bundle.folder / "vision.safetensors", {"frames": frames}, 1 << 40)
    pieces = run_in_segments(path, micro_bundle.folder / "vision.safetensors", {"frames": frames}, 10_000)
    for name, value in whole.items():
        np.testing.assert_allclose(pieces[name], value, atol=1e-5)
    assert not list(micro_bundle.folder.glob(".partial-*"))


def test_a_plain_molmo2_builds_at_keep_1_only(plain_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    with pytest.raises(CheckpointError, match="pass --scorer change, which prunes without a trained one, or --keep 1"):
        build_bundle(request(plain_checkpoint, out))
    assert not list(tmp_path.iterdir())
    bundle = build_bundle(request(plain_checkpoint, out, keeps=[1.0]))
    assert list(bundle.manifest.variants) == ["full-t2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keeps": [0.4]}, "keep 0.4 is impossible for 2 frames"),
        ({"keeps": [1.5]}, "keep ratio must be above 0"),
        ({"frames": [0]}, "at least 1 frame"),
        ({"frames": [4097]}, "at most 4096 frames"),
        ({"variants": ["full-t4097"]}, "at most 4096 frames"),
        ({"variants": ["clip-t4"]}, "'clip-t4' names no variant"),
        ({"variants": ["clip-t4-k0.1"]}, "keep 0.1 is impossible for 4 frames"),
        ({"targets": ["npu"]}, "unknown target 'npu'"),
        ({"max_context": 10}, "does not hold a video"),
    ],
)
def test_impossible_requests_leave_nothing(
    micro_checkpoint: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_bundle(request(micro_checkpoint, tmp_path / "bundle", **changes))
    assert not list(tmp_path.iterdir())


def test_variants_are_built_by_name_beside_the_others(micro_checkpoint: Path, tmp_path: Path) -> None:
    bundle = build_bundle(request(micro_checkpoint, tmp_path / "named", keeps=[1.0], variants=["clip-t4-k0.25"]))
    assert list(bundle.manifest.variants) == ["full-t2", "clip-t4-k0.25"]
    assert "--keep 1 --budget clip --variant clip-t4-k0.25 --target" in bundle.manifest.build_command


def test_an_existing_bundle_is_replaced_only_on_demand(micro_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    build_bundle(request(micro_checkpoint, out, keeps=[1.0]))
    with pytest.raises(UserError, match="exists already"):
        build_bundle(request(micro_checkpoint, out, frames=[3], keeps=[1.0]))
    assert list(Bundle.open(out).manifest.variants) == ["full-t2"]
    build_bundle(request(micro_checkpoint, out, frames=[3], keeps=[1.0], replace=True))
    assert list(Bundle.open(out).manifest.variants) == ["full-t3"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_force_replaces_bundles_and_nothing_else(micro_checkpoint: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("mine")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"name": "my browser extension"}')
    for name in ("precious", "link", "dangling", "extension"):
        with pytest.raises(UserError, match="exists already"):
            build_bundle(request(micro_checkpoint, tmp_path / name, replace=True))
    assert (precious / "thesis.tex").read_text() == "mine"


def test_what_appears_at_the_place_during_a_build_is_not_deleted(tmp_path: Path) -> None:
    def someone_else_writes() -> None:
        with published(tmp_path / "out") as folder:
            (folder / "a").touch()
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()

    with pytest.raises(UserError, match="exists already"):
        someone_else_writes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_bundle_is_not_written_over_into_or_around_its_checkpoint(micro_checkpoint: Path) -> None:
    before = sorted(micro_checkpoint.rglob("*"))
    for out in (micro_checkpoint, micro_checkpoint / "bundle", micro_checkpoint.parent):
        with pytest.raises(UserError, match="must not contain each other"):
            build_bundle(request(micro_checkpoint, out, replace=True))
    assert sorted(micro_checkpoint.rglob("*")) == before


def test_a_failed_build_removes_the_parents_that_it_made(
    micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ExportError("planted")

    monkeypatch.setattr(builder, "export_vision", fail)
    with pytest.raises(ExportError):
        build_bundle(request(micro_checkpoint, tmp_path / "a" / "b" / "bundle"))
    assert not list(tmp_path.iterdir())


def test_too_little_memory_is_said_before_any_weight_is_read(
    micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LIBRARY_BYTES", 1 << 50)
    with pytest.raises(UserError, match="GB of memory"):
        build_bundle(request(micro_checkpoint, tmp_path / "bundle"))
    assert not list(tmp_path.iterdir())


def test_the_recorded_command_names_no_path(micro_bundle: Bundle) -> None:
    command = micro_bundle.manifest.build_command
    assert command == (
        "stts-export build micro --out micro --frames 3 --frames 6 --keep 1 --keep 0.5 --budget clip --budget frame "
        "--batch 4 --target cpu"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), r"weight model\.language_model\.norm\.weight holds values that are not finite"),
        (float("-inf"), r"weight model\.language_model\.norm\.weight holds values that are not finite"),
        (3e38, "the model's logits are not finite, though all of its weights are"),
    ],
)
def test_weights_that_give_no_numbers_are_refused(
    micro_checkpoint: Path, tmp_path: Path, value: float, said: str
) -> None:
    copy, name = tmp_path / "checkpoint", "model.language_model.norm.weight"
    shutil.copytree(micro_checkpoint, copy)
    weights = {key: tensor.float() for key, tensor in load_file(copy / SINGLE).items()}
    weights[name].fill_(value)
    save_file(weights, copy / SINGLE)
    with pytest.raises(CheckpointError, match=said):
        build_bundle(request(copy, tmp_path / "bundle", keeps=[1.0]))
    assert [one.name for one in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_of_the_older_generation_builds(micro_checkpoint: Path, tmp_path: Path) -> None:
    """Fused weights are stored in one piece and must reach the weight file as several."""
    copy = Path(shutil.copytree(micro_checkpoint, tmp_path / "older"))
    save_file(older_weights(load_file(copy / SINGLE)), copy / SINGLE)
    build_bundle(request(copy, tmp_path / "bundle", keeps=[1.0]))
    with safe_open(tmp_path / "bundle" / "language.safetensors", framework="np") as opened:
        assert "language_model.layers.0.self_attn.k_proj.weight" in set(opened.keys())


def test_an_interrupted_build_leaves_nothing(
    micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "check_language", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_bundle(request(micro_checkpoint, tmp_path / "bundle", keeps=[1.0]))
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_from_the_modules_is_refused(
    micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that runs in every build: a planted change of one weight file byte range must stop it."""
    original = safetensors_writer.write_safetensors

    def corrupt(
        path: Path, like: Mapping[str, torch.Tensor], read: Callable[[str], torch.Tensor], metadata: dict[str, str]
    ) -> None:
        wrong = "language_model.layers.1.mlp.up_proj.weight"
        original(path, like, lambda name: read(name).flip(0) if name == wrong else read(name), metadata)

    monkeypatch.setattr(bundle_writer, "write_safetensors", corrupt)
    with pytest.raises(ExportError, match=r"language\.onnx: logits differ"):
        build_bundle(request(micro_checkpoint, tmp_path / "bundle", keeps=[1.0]))
    assert not list(tmp_path.iterdir())


def test_the_check_tells_a_tie_from_a_wrong_choice() -> None:
    budget, allowed = TokenBudget(2, 4, 0.75), ROUNDING["fp32"]
    scores = np.array([[0.9] * 4, [0.5, 0.500001, 0.8, 0.1]], dtype=np.float32)
    tokens = np.arange(12, dtype=np.float32).reshape(6, 2)
    wanted = {"visual_tokens": tokens, "scores": scores, "kept_groups": np.array([0, 1, 2, 3, 5, 6])}
    tie = {
        **wanted,
        "kept_groups": np.array([0, 1, 2, 3, 4, 6]),
        "visual_tokens": tokens + np.repeat([[0], [9]], [4, 2], axis=0),
    }
    wrong = {**wanted, "kept_groups": np.array([0, 1, 2, 3, 5, 7])}
    off = {**tie, "visual_tokens": tokens + 1}

    def error(got: dict[str, np.ndarray]) -> float:
        return check.compare_vision("graph", got, wanted, budget, allowed)

    assert error(wanted) == error(tie) == 0, "a frame with another choice has other tokens, and is left out"
    with pytest.raises(ExportError, match="disagree about group"):
        error(wrong)
    with pytest.raises(ExportError, match="visual tokens differ"):
        error(off)


def test_positions_come_from_the_request_then_the_checkpoint(micro_checkpoint: Path, tmp_path: Path) -> None:
    given = build_bundle(request(micro_checkpoint, tmp_path / "given", keeps=[1.0], positions="compact"))
    stored = build_bundle(request(micro_checkpoint, tmp_path / "stored", keeps=[1.0]))
    assert given.manifest.prompt.positions == "compact"
    assert stored.manifest.prompt.positions == "original"


def test_multiplications_are_those_of_the_layers(micro_bundle: Bundle) -> None:
    """Counted by hand for the unpruned micro model, 3 frames of 36 patches."""
    width, mlp, tokens, layers = 32, 48, 3 * 36, 5
    blocks = layers * tokens * (4 * width * width + 2 * width * mlp + 2 * 36 * width)
    # The values' bias joins the output's, by way of the output's weights.
    blocks += layers * width * width
    embedding = tokens * 588 * width
    groups, features, hidden, text = 12, 64, 64, 48
    projections = groups * (features * width * 3 + width * width)
    over_patches = groups * 2 * 2 * 9 * features
    connector = projections + over_patches + groups * (2 * width * hidden + hidden * text)
    counted = micro_bundle.manifest.variants["full-t3"].graphs["cpu"].multiplications.fixed
    assert counted == blocks + embedding + connector


def test_the_olmo_form_builds_for_every_target(olmo_checkpoint: Path, tmp_path: Path) -> None:
    """The build checks every graph against the modules, and those are held to transformers elsewhere."""
    request = BuildRequest(olmo_checkpoint, tmp_path / "out", [2], [1.0], ["clip"], targets=list(TARGETS))
    bundle = build_bundle(request)
    assert set(bundle.manifest.language.graphs) == set(LOWERINGS)
