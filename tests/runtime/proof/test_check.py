"""Engines are held to what they must give: a bundle's own proof, and references that `verify` writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from stts_export.verifying import VerifyRequest, verify_bundle
from stts_runtime.bundle import Bundle
from stts_runtime.compile import run as run_module
from stts_runtime.compile.request import Done, PartRequest
from stts_runtime.compile.run import CompileRequest, compile_bundle
from stts_runtime.compile.trial import Trial
from stts_runtime.doctor.examine import bundle_facts
from stts_runtime.engines.cpu_language import CpuLanguage
from stts_runtime.errors import BundleError, EngineError, UserError
from stts_runtime.passports import EngineStore, Passport
from stts_runtime.proof.check import CheckRequest, check_bundle
from stts_runtime.proof.finding import CheckReport
from stts_runtime.references.layout import COLOURS
from stts_runtime.references.reference import PROOF, Reference
from stts_runtime.references.signs import project, signs
from tests.runtime.compile.test_run import Heard
from tests.runtime.engines.test_tensorrt import cuda  # noqa: F401 (a fixture)
from tests.support import fake_tensorrt, planted
from tests.support.compiled import WORKSTATION, with_engines
from tests.support.fake_tensorrt import FakeCuda
from tests.support.programs import assert_refused, run


@pytest.fixture
def copy(micro_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_bundle.folder, tmp_path / "bundle"))


def checked(bundle: Path, **options: object) -> CheckReport:
    return check_bundle(CheckRequest(bundle, **options))  # type: ignore[arg-type]


def missed(report: CheckReport) -> set[tuple[str | None, str]]:
    return {(finding.variant, finding.stage) for finding in report.missed}


def test_the_engines_of_a_new_bundle_give_what_its_proof_says(micro_bundle: Bundle) -> None:
    report = checked(micro_bundle.folder)
    assert {one.status for one in report.findings} == {"ok"}
    manifest = micro_bundle.manifest
    assert manifest.live
    assert {one.variant for one in report.findings} == {*manifest.variants, *manifest.live.variants, None}
    stages = {one.stage for one in report.findings}
    assert stages == {"scores", "kept set", "visual tokens", "for the next frame", "logits", "choices"}
    assert (micro_bundle.folder / PROOF).stat().st_size < 100_000


def change_initializer(bundle: Path, graph: str) -> None:
    """Negates the largest weight of a graph of the bundle, whose manifest is kept true."""
    model = onnx.load(bundle / graph)
    tensors = [one for one in model.graph.initializer if len(one.dims) == 2]
    tensor = max(tensors, key=lambda one: np.prod(one.dims))
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, bundle / graph)
    planted.keep_manifest_true(bundle, graph)


def test_a_wrong_weight_is_found_where_it_is(copy: Path) -> None:
    change_initializer(copy, "vision.clip-t3-k0.5.onnx")
    change_initializer(copy, "language.onnx")
    found = missed(checked(copy))
    assert {variant for variant, _ in found} == {"clip-t3-k0.5", None}
    assert (None, "logits") in found
    assert ("clip-t3-k0.5", "visual tokens") in found


def test_a_wrong_choice_of_groups_is_found_with_its_distance_from_the_cut(copy: Path) -> None:
    path = copy / "vision.clip-t6-k0.5.onnx"
    model = onnx.load(path, load_external_data=False)
    (sort, *_) = (node for node in model.graph.node if node.op_type == "TopK")
    for attribute in sort.attribute:
        if attribute.name == "largest":
            attribute.i = 1 - attribute.i
    onnx.save(model, path)
    planted.keep_manifest_true(copy, path.name)
    report = checked(copy, variants=["clip-t6-k0.5"])
    (found,) = [one for one in report.missed if one.stage == "kept set"]
    assert "from the cut" in (found.detail or "")


def test_the_command_says_it_as_json_and_with_its_exit_code(copy: Path) -> None:
    done = run("stts-runtime", "check", copy, "--variant", "full-t3", "--json")
    report = CheckReport.model_validate_json(done.stdout)
    assert (done.returncode, report.missed, done.stderr) == (0, [], "")
    change_initializer(copy, "language.onnx")
    done = run("stts-runtime", "check", copy, "--variant", "full-t3")
    assert done.returncode == 1
    assert "missed cpu engine, language model: logits error" in done.stdout
    assert_refused(run("stts-runtime", "check", copy, "--variant", "nope"), "has nothing about a variant nope")


def test_a_damaged_file_is_no_bundle_whose_bars_are_kept(copy: Path) -> None:
    weights = copy / "language.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    assert_refused(run("stts-runtime", "check", copy), f"language.safetensors is damaged: {len(whole) - 4} bytes")


def test_where_nothing_can_be_loaded_nothing_was_compared(copy: Path) -> None:
    """Although the manifest has the files as they are."""
    path = copy / "language.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    planted.keep_manifest_true(copy, path.name)
    with pytest.raises(UserError, match=r"nothing of .* was compared: .*language\.onnx cannot be loaded"):
        checked(copy)


def test_a_language_model_that_fails_on_the_example_is_a_miss(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise EngineError("out of luck")

    monkeypatch.setattr(CpuLanguage, "forward", fails)
    (found,) = checked(copy, variants=["full-t3"]).missed
    assert (found.variant, found.detail) == (None, "out of luck")


def without_proof(bundle: Path) -> Path:
    (bundle / PROOF).unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"][PROOF]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def test_an_older_bundle_works_and_says_how_to_get_a_proof(copy: Path) -> None:
    assert [fact.value for fact in bundle_facts(copy, WORKSTATION)] == [f"stts-runtime check {copy}"]
    older = without_proof(copy)
    with pytest.raises(BundleError, match=r"carries no proof .* build it again with: stts-export build"):
        checked(older)
    assert [fact.value for fact in bundle_facts(older, WORKSTATION)] == [None]
    assert "so none was tried" in (Trial(Bundle.open(older), WORKSTATION).note([]) or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("clip-t3-k0.5.scores"), "lacks 'clip-t3-k0.5.scores'"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "holds an unknown 'more'"),
        (lambda arrays: arrays.update({COLOURS: arrays[COLOURS].astype(object)}), "object .* and should be uint8"),
        (lambda arrays: arrays.update({COLOURS: arrays[COLOURS][:, :-1]}), r"colours is uint8 .* and should be uint8"),
        (lambda arrays: arrays.update({"clip-t3-k0.5.kept": np.full(2, 255, np.uint8)}), "do not fit each other"),
        (lambda arrays: arrays.update({"language.example.answer_ids": np.full(8, 1 << 40)}), "do not fit each other"),
        (lambda arrays: arrays.update(about=np.frombuffer(b"{}", np.uint8)), "is not a reference, or is damaged"),
        (
            lambda arrays: arrays.update(about=np.frombuffer(b'{"schema_version": 9}', np.uint8)),
            "written by a newer stts-export",
        ),
    ],
)
def test_a_foreign_proof_is_one_sentence(copy: Path, change: object, message: str) -> None:
    with np.load(copy / PROOF) as file:
        arrays = dict(file)
    change(arrays)  # type: ignore[operator]
    np.savez(copy / PROOF, allow_pickle=True, **arrays)
    planted.keep_manifest_true(copy, PROOF)
    with pytest.raises(BundleError, match=message) as caught:
        checked(copy)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_or_is_cut_short_is_one_sentence(copy: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes((copy / PROOF).read_bytes()[:-200])
    with pytest.raises(BundleError, match="is not a reference, or is damaged"):
        checked(copy, reference=cut)
    with pytest.raises(BundleError, match="no such file"):
        checked(copy, reference=tmp_path / "nothing.npz")


def test_a_reference_that_verify_writes_is_kept_by_the_engines_with_their_texts(
    copy: Path, micro_checkpoint: Path, tmp_path: Path, clip: Path
) -> None:
    file, variants = tmp_path / "reference.npz", ["clip-t3-k0.5", "live-k0.5"]
    request = VerifyRequest(copy, micro_checkpoint, clip, variants, max_tokens=4, write_reference=file)
    verify_bundle(request)
    report = checked(copy, reference=file)
    assert {one.status for one in report.findings} == {"ok"}
    assert {one.variant for one in report.findings} == set(variants)
    assert {one.stage for one in report.findings} == {
        "scores", "kept set", "visual tokens", "text", "logits", "choices",
    }  # fmt: skip
    change_initializer(copy, "vision.clip-t3-k0.5.onnx")
    assert ("clip-t3-k0.5", "visual tokens") in missed(checked(copy, reference=file))

    other = json.loads((copy / "manifest.json").read_text())
    other["checkpoint_config_sha256"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(BundleError, match="was computed from another checkpoint"):
        checked(copy, reference=file)
    inside = replace(request, write_reference=copy / "reference.npz")
    with pytest.raises(UserError, match="would be inside the bundle"):
        verify_bundle(inside)


def test_a_projection_tells_the_error_of_what_it_replaces() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 640)).astype(np.float32)
    off = rows + 0.01 * rng.normal(size=rows.shape).astype(np.float32)
    error = np.linalg.norm(project(off, 8) - project(rows, 8)) / np.linalg.norm(project(rows, 8))
    assert 0.009 < error < 0.011
    assert signs("directions", (12,)).tolist() == [-1, 1, -1, 1, -1, -1, 1, 1, -1, 1, -1, 1], "the same for ever"


def test_the_comparison_imports_neither_torch_nor_onnxruntime() -> None:
    code = (
        "import sys, stts_runtime.proof.check, stts_runtime.compile.trial\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def builder(targets_bundle: Bundle, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:  # noqa: F811
    """Stands in for TensorRT's builder: an engine is its graph, or the one that is put here for it."""
    instead: dict[str, Path] = {}

    def compile_part(request: PartRequest, *_: object) -> Done:
        graph = instead.get(Path(request.graph).name, Path(request.graph))
        Path(request.plan).write_bytes(fake_tensorrt.plan_of(graph))
        return Done(seconds=1.0, peak_memory_mb=500.0, warnings=[], builder_flags="strongly typed", inspected=None)

    monkeypatch.setattr(fake_tensorrt, "Builder", object, raising=False)
    monkeypatch.setattr(run_module, "compile_part", compile_part)
    monkeypatch.setattr(run_module, "this_device", lambda: WORKSTATION)
    monkeypatch.setattr("stts_runtime.compile.trial.load_cuda", lambda: None)
    return instead


def test_compile_tries_every_engine_and_writes_down_what_it_measured(
    targets_bundle: Bundle, tmp_path: Path, builder: dict[str, Path]
) -> None:
    copy = Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle"))
    heard = Heard()
    passports = compile_bundle(CompileRequest(copy, "tensorrt"), heard)
    measured = {passport.part: passport.proof or {} for passport in passports}
    assert measured["vision.clip-t3-k0.5"].keys() == {"scores", "kept set", "visual tokens"}
    assert measured["vision.live-k0.5"]["for the next frame"] < 1e-2
    assert measured["language"]["choices"] == 1
    assert measured["language"]["logits"] < 1e-2
    assert not any("not tried here" in note for note in heard.notes)
    assert not checked(copy, engine="tensorrt").missed


def test_an_engine_that_computes_something_else_is_refused_and_leaves_nothing(
    targets_bundle: Bundle, tmp_path: Path, builder: dict[str, Path]
) -> None:
    copy = Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle"))
    wrong = Path(shutil.copytree(copy, tmp_path / "wrong"))
    change_initializer(wrong, "vision.clip-t3-k0.5.tensorrt.onnx")
    builder["vision.clip-t3-k0.5.tensorrt.onnx"] = wrong / "vision.clip-t3-k0.5.tensorrt.onnx"
    message = r"the tensorrt engine of vision.clip-t3-k0.5 was compiled and is not kept.*visual tokens error"
    with pytest.raises(EngineError, match=message) as caught:
        compile_bundle(CompileRequest(copy, "tensorrt"), Heard())
    assert "\n" not in str(caught.value)
    assert [part for part, _ in EngineStore(copy).engines(targets_bundle.manifest.parts())] == ["vision.full-t3"]
    assert {path.suffix for path in (copy / "engines").iterdir()} == {".plan", ".json"}, "no scratch, nothing of it"


def test_nothing_is_tried_where_the_engine_cannot_run(targets_bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt-rtx")
    passport: Passport = EngineStore(bundle.folder).read("vision.full-t3", "tensorrt-rtx")
    assert WORKSTATION.gpu
    for gpu in (None, replace(WORKSTATION.gpu, architecture="sm89")):
        device = replace(WORKSTATION, gpu=gpu)
        trial = Trial(bundle, device)
        assert trial.passed(passport, tmp_path / "plan") is passport
        assert "not tried here: vision.full-t3; on the device" in (trial.note([passport]) or "")


def test_a_reference_names_the_variants_that_a_bundle_lacks(micro_bundle: Bundle, targets_bundle: Bundle) -> None:
    """Of the same checkpoint, with windows of 6 frames that the other does not have."""
    with pytest.raises(BundleError, match=r"computed for other variants .* full-t6 is not among them"):
        Reference.open(micro_bundle.folder / PROOF, targets_bundle.manifest)
