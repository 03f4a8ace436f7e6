"""`verify` finds nothing in a sound bundle, and names what was planted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from stts_export.building import BuildRequest, build_bundle
from stts_export.options import Half
from stts_export.verifying import Finding, VerifyReport, VerifyRequest, verify_bundle
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.engines.interfaces import VisionOutput
from stts_runtime.errors import EngineError, UserError
from stts_runtime.proof.finding import Status
from stts_runtime.proof.language_stage import Said, compare_text, difference
from stts_runtime.proof.vision_stage import compare_choice
from stts_runtime.references.bars import BARS, QUANTIZED, ROUNDING, Bar
from tests.support import planted
from tests.support.clips import write_clip
from tests.support.programs import run

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def copy(targets_bundle: Bundle, tmp_path: Path) -> Path:
    """3 frames at keep 1 and 0.5: the cpu lowering in float32, those of CUDA and TensorRT in fp16."""
    return Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle"))


def verified(bundle: Path, checkpoint: Path, **options: object) -> VerifyReport:
    return verify_bundle(VerifyRequest(bundle, checkpoint, max_tokens=6, **options))  # type: ignore[arg-type]


def of(report: VerifyReport, stage: str, status: Status | None = None) -> list[Finding]:
    return [one for one in report.findings if one.stage == stage and status in (None, one.status)]


def test_a_sound_bundle_keeps_every_bar_and_every_stage_was_looked_at(
    copy: Path, micro_checkpoint: Path, clip: Path
) -> None:
    report = verified(copy, micro_checkpoint, frames_from=clip)
    assert not report.missed
    graphs = {"cuda graph", "tensorrt graph", "tensorrt-10 graph", "tensorrt-8 graph"}
    subjects = {"cpu engine", *graphs}
    for stage, variants in (("visual tokens", 3), ("prefill logits", 3), ("text", 3), ("scores", 2), ("kept set", 2)):
        assert {one.subject for one in of(report, stage)} == subjects, stage
        assert len([one for one in of(report, stage) if one.variant != "live-k0.5"]) == variants * len(subjects), stage
        assert {one.subject for one in of(report, stage) if one.variant == "live-k0.5"} == {"cpu engine"}, stage
    assert {one.subject for one in of(report, "overflow", "ok")} == graphs
    assert {one.subject for one in of(report, "half precision")} == graphs
    assert of(report, "transformers' Molmo2", "ok")
    assert of(report, "refill", "note")
    assert of(report, "positions", "note")
    assert {one.stage for one in report.findings if one.subject == "weights"} == {
        "language.16bit.safetensors", "language.safetensors", "vision.16bit.safetensors", "vision.safetensors",
    }  # fmt: skip
    stored = VerifyReport.model_validate_json((copy / "engines" / "verify.json").read_bytes())
    assert stored == report
    assert Bundle.open(copy).manifest.variants


def test_every_budget_is_verified(micro_bundle: Bundle, micro_checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(micro_bundle.folder, tmp_path / "bundle"))
    report = verified(copy, micro_checkpoint)
    assert not report.missed
    pruned = {name for name, variant in micro_bundle.manifest.variants.items() if variant.is_pruned}
    assert {one.variant for one in of(report, "kept set", "ok")} == {*pruned, "live-k0.5"}
    assert {one.variant for one in of(report, "refill")} == {name for name in pruned if name.startswith("clip")}


def test_what_is_scored_without_training_is_verified_as_well(
    change_bundle: Bundle, plain_checkpoint: Path, tmp_path: Path, clip: Path
) -> None:
    copy = Path(shutil.copytree(change_bundle.folder, tmp_path / "bundle"))
    report = verified(copy, plain_checkpoint, frames_from=clip)
    assert not report.missed
    assert {one.variant for one in of(report, "kept set", "ok")} == {"clip-t3-k0.5", "frame-t3-k0.5", "live-k0.5"}
    assert not of(report, "refill"), "nothing was trained with it"


@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_weights_in_16_bits_are_held_to_what_rounding_them_does(
    micro_checkpoint: Path, tmp_path: Path, half: Half
) -> None:
    def widen(weights: dict[str, Tensor]) -> None:
        # The others are in float16 already, so that rounding them changes nothing.
        for name, weight in weights.items():
            weights[name] = weight.float() * 1.0003

    wide = planted.with_weights(micro_checkpoint, tmp_path / "wide", widen)
    request = BuildRequest(wide, tmp_path / "bundle", [3], [0.5], ["clip"], targets=["cpu-16bit"], half=half)
    bundle = build_bundle(request)
    assert bundle.manifest.language.graphs["cpu-16bit"].precision == "fp32"
    (tokens,) = of(verified(bundle.folder, wide), "visual tokens")
    assert tokens.value is not None
    # bf16 has three bits less, and these weights, random as they are, do not keep the bar in it.
    assert 1e-5 < tokens.value < {"fp16": 3e-3, "bf16": 3e-2}[half]
    assert (tokens.status == "missed") == (tokens.value > BARS[half].features)


def test_a_read_only_bundle_is_said_before_the_work(
    copy: Path, micro_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stts_export.verifying.run.os.access", lambda _, mode, **__: mode != os.W_OK)
    with pytest.raises(UserError, match="is read-only"):
        verified(copy, micro_checkpoint)


def test_a_quantized_bundle_is_refused_and_not_called_wrong(copy: Path, micro_checkpoint: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["language"]["graphs"]["cuda"]["quantized"] = "fp8"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"was quantized \(language in fp8\), and verify compares weights one by one"):
        verified(copy, micro_checkpoint)


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(copy: Path, micro_checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"has no variant clip-t9; it has full-t3, clip-t3-k0.5"):
        verified(copy, micro_checkpoint, variants=["clip-t9"])


def test_a_swapped_weight_is_named_with_whose_place_it_took(copy: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    swapped = planted.with_weights(micro_checkpoint, tmp_path / "swapped", planted.swap_weights)
    report = verified(copy, swapped)
    for file in ("vision.safetensors", "vision.16bit.safetensors"):
        (found,) = of(report, file, "missed")
        assert f"{planted.FIRST} holds what the checkpoint has as {planted.SECOND}" in (found.detail or "")
        assert found.value == 2
    assert len(of(report, "visual tokens", "missed")) == 16
    assert not of(report, "language.safetensors", "missed")


def test_a_weight_changed_in_the_bundle_is_named(copy: Path, micro_checkpoint: Path) -> None:
    name = "language_model.layers.1.mlp.down_proj.weight"
    weights = load_file(copy / "language.safetensors")
    weights[name][3, 4] += 1
    save_file(weights, copy / "language.safetensors")
    planted.keep_manifest_true(copy, "language.safetensors")
    (found,) = of(verified(copy, micro_checkpoint), "language.safetensors", "missed")
    assert found.detail is not None
    assert f"{name} differs in" in found.detail


def test_a_derived_weight_changed_in_the_bundle_is_named(copy: Path, micro_checkpoint: Path) -> None:
    path = copy / "vision.16bit.safetensors"
    with safe_open(path, framework="pt") as opened:
        described = opened.metadata()
    weights, name = load_file(path), min(described)
    weights[name].view(-1)[0] += 1
    save_file(weights, path, described)
    planted.keep_manifest_true(copy, path.name)
    report = verified(copy, micro_checkpoint)
    (found,) = of(report, f"{path.name}, derived", "missed")
    assert found.measured == f"1 of {len(described)} differ"
    assert name in (found.detail or "")
    assert not of(report, path.name, "missed")


def test_an_fp16_overflow_that_only_this_video_causes_is_named(micro_checkpoint: Path, tmp_path: Path) -> None:
    loud = planted.with_weights(micro_checkpoint, tmp_path / "loud", planted.answer_loudly_to_checkerboards)
    request = BuildRequest(loud, tmp_path / "bundle", [2], [1.0, 0.5], ["clip"], targets=["tensorrt-rtx"])
    bundle = build_bundle(request)
    assert not bundle.manifest.variants["full-t2"].graphs["tensorrt"].wide, "made-up frames show nothing"
    assert not verified(bundle.folder, loud).missed
    video = planted.checkerboard_clip(tmp_path / "board.avi", 4, 84)
    report = verified(bundle.folder, loud, frames_from=video)
    (found,) = of(report, "overflow", "missed")
    assert "an fp16 overflow" in (found.detail or "")
    assert "multi_modal_projector" in (found.detail or "")
    assert (found.value or 0) > 65504
    broken = of(report, "visual tokens", "missed")
    assert len(broken) == 2
    assert all("not finite" in (one.detail or "") for one in broken)


def test_a_tie_at_the_cut_is_reported_and_one_broken_the_other_way_is_caught(
    micro_checkpoint: Path, tmp_path: Path
) -> None:
    tied = planted.with_weights(micro_checkpoint, tmp_path / "tied", planted.score_everything_alike)
    bundle = build_bundle(BuildRequest(tied, tmp_path / "bundle", [3], [0.5], ["clip"]))
    report = verified(bundle.folder, tied)
    assert not report.missed
    (found,) = of(report, "kept set")
    assert "a tie of 8 groups at the cut" in found.measured
    planted.break_ties_the_other_way(bundle.folder, "vision.clip-t3-k0.5.onnx")
    report = verified(bundle.folder, tied)
    (found,) = of(report, "kept set", "missed")
    assert "a top-k tie broken the other way" in (found.detail or "")
    assert of(report, "visual tokens", "ok"), "compared at the same choice, the layers are right"


def test_a_bundle_of_another_model_is_refused(copy: Path, olmo_checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"was not built from .*: text layers is 2 there and 4 here"):
        verified(copy, olmo_checkpoint)
    assert not (copy / "engines").exists()


def test_a_plain_checkpoint_is_not_that_of_a_pruned_bundle(copy: Path, plain_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was not built from .*, which has no token scorer"):
        verified(copy, plain_checkpoint)


def test_a_causal_checkpoint_is_compared_with_transformers_as_such(plain_checkpoint: Path, tmp_path: Path) -> None:
    causal = Path(shutil.copytree(plain_checkpoint, tmp_path / "causal"))
    config = json.loads((causal / "config.json").read_text())
    config["bi_directional_attn"] = None
    (causal / "config.json").write_text(json.dumps(config))
    request = BuildRequest(causal, tmp_path / "bundle", [2], [1.0], ["clip"], targets=["cpu", "cpu-16bit"])
    report = verified(build_bundle(request).folder, causal)
    assert not report.missed
    assert of(report, "transformers' Molmo2", "ok")
    assert {one.subject for one in of(report, "visual tokens")} == {"cpu engine", "cpu-16bit graph"}


def test_an_engine_that_does_not_load_is_a_row_and_no_end(
    copy: Path, micro_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("out of something")

    monkeypatch.setattr("stts_runtime.engines.cpu.CpuBackend.load_language", fail)
    report = verified(copy, micro_checkpoint, variants=["full-t3"])
    (found,) = (one for one in report.findings if one.subject == "cpu engine")
    assert (found.status, found.detail) == ("not run", "out of something")
    assert of(report, "visual tokens", "ok"), "the others are looked at"


def test_a_video_that_is_too_short_names_the_variant(copy: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    video = write_clip(tmp_path / "short.mp4", frames=1, fps=10)
    with pytest.raises(UserError, match=r"\(for full-t3; --variant chooses others\)"):
        verified(copy, micro_checkpoint, frames_from=video)


def test_the_command_prints_a_table_and_fails_with_the_bars(copy: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    words = ("stts-export", "verify", copy, "--checkpoint", micro_checkpoint, "--max-tokens", "2")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "every bar is kept" in done.stdout
    assert "clip-t3-k0.5" in done.stdout
    swapped = planted.with_weights(micro_checkpoint, tmp_path / "swapped", planted.swap_weights)
    done = run(*words[:4], swapped, "--max-tokens", "2", "--json")
    assert done.returncode == 1
    report = VerifyReport.model_validate(json.loads(done.stdout))
    assert report.missed


def output(kept: list[int], scores: list[float]) -> VisionOutput:
    """Two frames of four groups, the first whole; `kept` counts within the second."""
    mask = np.zeros((2, 4), dtype=np.bool_)
    mask[0], mask[1, kept] = True, True
    return VisionOutput(None, mask, np.array([[0.9] * 4, scores], dtype=np.float32))


@pytest.mark.parametrize(
    ("scores", "got", "precision", "status"),
    [
        ([0.1, 0.2, 0.3, 0.4], [2, 3], "fp32", "ok"),
        ([0.1, 0.2, 0.2005, 0.4], [1, 3], "fp32", "missed"),
        ([0.1, 0.2, 0.2, 0.4], [1, 3], "fp32", "missed"),
    ],
)
def test_what_a_kept_set_may_differ_by(scores: list[float], got: list[int], precision: str, status: str) -> None:
    budget = TokenBudget(2, 4, 0.75)
    found = compare_choice("engine", budget.name, budget, output(got, scores), output([2, 3], scores), BARS[precision])  # type: ignore[index]
    assert found.status == status
    assert ("top-k tie" in (found.detail or "")) == (scores[1] == scores[2])


def test_swaps_in_16_bits_are_allowed_near_the_cut_only() -> None:
    frames, groups = 10, 81
    budget = TokenBudget(frames, groups, 0.5)
    scores = np.random.default_rng(0).permutation(np.linspace(0.2, 0.8, frames * groups)).astype(np.float32)
    order = np.argsort(scores[groups:]) + groups
    kept = np.zeros(frames * groups, dtype=np.bool_)
    kept[:groups], kept[order[-(budget.kept - groups) :]] = True, True
    wanted = VisionOutput(None, kept.reshape(frames, groups), scores.reshape(frames, groups))

    def swapped(distance: int) -> Finding:
        other = kept.copy()
        cut = len(order) - (budget.kept - groups)
        other[order[cut]], other[order[cut - distance]] = False, True
        mask = other.reshape(frames, groups)
        return compare_choice(
            "engine", budget.name, budget, VisionOutput(None, mask, wanted.scores), wanted, BARS["fp16"]
        )

    assert swapped(1).status == "ok"
    far = swapped(50)
    assert far.status == "missed"
    assert "from the cut" in (far.detail or "")


def test_a_crowd_at_the_cut_is_no_fault_of_an_engine_and_none_of_what_was_asked_for() -> None:
    """Where nearly everything moves, hundreds of scores lie closer to the cut than 16 bits can tell."""
    frames, groups = 4, 81
    budget = TokenBudget(frames, groups, 0.5)
    generator = np.random.default_rng(0)
    scores = (1 - 1e-5 * generator.random((frames, groups))).astype(np.float32)

    def chosen(ours: NDArray[np.float32]) -> VisionOutput:
        kept = np.zeros(frames * groups, dtype=np.bool_)
        order = np.argsort(ours[1:].ravel()) + groups
        kept[:groups], kept[order[-(budget.kept - groups) :]] = True, True
        return VisionOutput(None, kept.reshape(frames, groups), ours)

    def status(error: float, bar: Bar) -> str:
        got = chosen(scores - np.float32(error) * generator.random((frames, groups), dtype=np.float32))
        found = compare_choice("engine", budget.name, budget, got, chosen(scores), bar)
        assert found.value is not None
        assert found.value < bar.overlap
        return found.status

    assert status(2e-4, ROUNDING["fp16"]) == "ok"
    assert status(2e-4, BARS["fp16"]) == "missed"
    assert status(2e-4, QUANTIZED) == "missed"
    scores = generator.random((frames, groups), dtype=np.float32)
    assert status(0.1, ROUNDING["fp16"]) == "missed"


def test_the_first_different_token_comes_with_both_probabilities() -> None:
    likely = np.log(np.array([0.7, 0.2, 0.1], dtype=np.float32))
    wanted, got = Said([0, 0, 1], [likely] * 3), Said([0, 1, 1], [likely] * 3)
    text = {0: "cat", 1: "dog", 2: "owl"}
    differs = difference(got, wanted, lambda ids: text[ids[0]])
    assert differs == "differs from token 2 on: 'dog' (0.200) instead of 'cat' (0.700)"
    for precision, status in (("fp32", "missed"), ("fp16", "note")):
        found = compare_text("engine", "v", got, wanted, precision == "fp32", lambda ids: text[ids[0]])
        assert found.status == status
    assert difference(wanted, wanted, str) is None
