"""Calibration: which frames, which ranges, what is quantized, and what the report refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stts_calib.accuracy.intervals import Interval
from stts_calib.calibration import CalibrationFrames, choose_windows, gather, load_frames, save_frames
from stts_calib.calibration.check import check_frames
from stts_calib.calibration.choice import traits
from stts_calib.calibration.gather import pruned_variant
from stts_calib.comparison import Bars, compare
from stts_calib.comparison.report import Pair, VariantRecord, failures_of, variant_records
from stts_calib.quantize.choices import Choice, agreement
from stts_calib.quantize.products import HEAD, SCORER, biased_layer, block_of, blocks_of, products_of
from stts_calib.quantize.ranges import Method, Ranges, check_ranges, measure_ranges
from stts_calib.quantize.recipe import Recipe, Tower
from stts_calib.quantize.search import search_blocks
from stts_calib.quantize.write import write_quantized
from stts_calib.trials import Trials, Wanted
from stts_export.cli.app import app
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Format
from stts_runtime.cli.app import app as runtime_app
from stts_runtime.cli.entry import run_app
from stts_runtime.engines import load_incremental
from stts_runtime.errors import SourceError, UserError
from stts_runtime.session import Session
from stts_runtime.tell import tell_nobody
from stts_runtime.video import synthetic_window
from tests.support.noise import noise_frames


@pytest.fixture(scope="module")
def frames(micro_bundle: Bundle) -> CalibrationFrames:
    return noise_frames(micro_bundle)


@pytest.fixture(scope="module")
def graph(micro_bundle: Bundle) -> Path:
    return micro_bundle.folder / micro_bundle.manifest.variants[pruned_variant(micro_bundle)].graphs["cpu"].graph


@pytest.fixture(scope="module")
def ranges(graph: Path, frames: CalibrationFrames) -> Ranges:
    return measure_ranges(graph, frames.frames[::2], "minmax")


# Which frames


def test_traits_tell_change_from_spread() -> None:
    still = np.tile(np.linspace(0, 1, 9, dtype=np.float32), (4, 1))
    moving = still.copy()
    moving[2:, 4] += 0.5
    assert traits(still)[0] == 0
    assert traits(moving)[0] > 0
    assert traits(np.full((4, 9), 0.5, np.float32)).tolist() == [0, 0]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5))
def test_so_many_windows_as_there_are_each_once(windows: int, count: int, seed: int) -> None:
    chosen = choose_windows(np.random.default_rng(seed).random((windows, 2)), count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(windows, count)


def test_windows_that_differ_are_chosen_and_not_the_first() -> None:
    alike = [[0.1, 0.1]] * 20
    assert choose_windows(np.array([*alike, [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]), 3) != [0, 1, 2]
    assert set(choose_windows(np.array([*alike, [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]), 4)) >= {20, 21, 22}


def test_frames_are_gathered_with_their_origin_and_come_back_from_the_file(
    micro_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    gathered = gather(micro_bundle, [str(clip)], 2)
    assert gathered.frames.shape[0] <= 2
    assert all(origin.source == str(clip) for origin in gathered.origins)
    save_frames(tmp_path / "frames.npz", gathered)
    again = load_frames(tmp_path / "frames.npz")
    np.testing.assert_array_equal(again.frames, gathered.frames)
    assert (again.origins, again.checkpoint_sha256, again.sha256) == (
        gathered.origins,
        gathered.checkpoint_sha256,
        gathered.sha256,
    )


def test_a_video_that_is_too_short_is_named(micro_bundle: Bundle, tmp_path: Path) -> None:
    from tests.support.clips import write_clip

    short = write_clip(tmp_path / "short.mp4", frames=3, fps=10)
    with pytest.raises(SourceError, match=r"short.mp4 holds no window of 3 frames"):
        gather(micro_bundle, [str(short)], 2)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"x" * 100])
def test_a_file_that_holds_no_frames_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "frames.npz").write_bytes(damage)
    with pytest.raises(UserError, match="holds no calibration frames"):
        load_frames(tmp_path / "frames.npz")


def test_frames_that_were_changed_are_refused(frames: CalibrationFrames, tmp_path: Path) -> None:
    save_frames(tmp_path / "frames.npz", frames)
    with np.load(tmp_path / "frames.npz") as content:
        np.savez(tmp_path / "changed.npz", frames=content["frames"] ^ 1, about=content["about"])
    with pytest.raises(UserError, match="not those that were stored"):
        load_frames(tmp_path / "changed.npz")


def test_useless_frames_are_refused_in_a_line_each(frames: CalibrationFrames, micro_bundle: Bundle) -> None:
    def refused(changed: CalibrationFrames, words: str) -> None:
        with pytest.raises(UserError, match=words):
            check_frames(changed, micro_bundle)

    pixels = frames.frames
    check_frames(frames, micro_bundle)
    refused(replace(frames, checkpoint_sha256="0" * 64), "another checkpoint")
    refused(replace(frames, frames=pixels[:3]), "3 windows are too few")
    refused(replace(frames, frames=pixels[:, :, :-1]), r"should be \(windows, frames")
    refused(replace(frames, frames=np.full_like(pixels, 90)), "one colour")
    refused(replace(frames, frames=np.repeat(pixels[:1], 8, axis=0)), "the same picture for picture")
    refused(replace(frames, frames=np.where(pixels > 60, np.uint8(255), pixels)), "saturated")


# Ranges


def test_every_product_with_a_weight_has_a_range_that_holds_all_it_saw(
    graph: Path, frames: CalibrationFrames, ranges: Ranges
) -> None:
    model = onnx.load(graph, load_external_data=False)
    assert set(ranges.of) == {product.weight for product in products_of(model)}
    assert all(low < high for low, high in ranges.of.values())
    check_ranges(graph, frames.frames[::2], ranges)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_the_other_methods_cut_off_outliers(
    graph: Path,
    frames: CalibrationFrames,
    ranges: Ranges,
    method: Method,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the first products; the search for entropy takes half a second each."""
    monkeypatch.setattr("stts_calib.quantize.ranges.products_of", lambda model: products_of(model)[:8])
    cut = measure_ranges(graph, frames.frames[:2], method)
    assert cut.of.keys() < ranges.of.keys()
    widths = [(high - low) / (ranges.of[weight][1] - ranges.of[weight][0]) for weight, (low, high) in cut.of.items()]
    assert np.median(widths) < 1


def test_a_planted_bad_range_is_named(graph: Path, frames: CalibrationFrames, ranges: Ranges) -> None:
    weight = next(weight for weight in ranges.of if "layers.0.mlp.fc2" in weight)
    low, high = ranges.of[weight]
    planted = Ranges("minmax", {**ranges.of, weight: (low / 20, high / 20)})
    with pytest.raises(UserError, match=rf"the range of the activation of {weight}, .* is saturated"):
        check_ranges(graph, frames.frames[1::2], planted)


def test_activations_that_are_no_numbers_are_named(graph: Path, frames: CalibrationFrames, tmp_path: Path) -> None:
    model = onnx.load(graph)
    weight = next(one for one in model.graph.initializer if one.name.endswith("layers.0.mlp.fc1.weight"))
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "graph.onnx")
    with pytest.raises(UserError, match=r"layers.0.mlp.fc2.weight holds NaN"):
        measure_ranges(tmp_path / "graph.onnx", frames.frames[:1], "minmax")


# What is quantized


def test_blocks_have_the_names_of_the_model() -> None:
    assert block_of("vision_tower.layers.11.mlp.fc1.weight") == "layers.11"
    assert block_of("temporal_token_scorer.mlp.w1.weight") == SCORER
    assert block_of("multi_modal_projector.image_projector.up_proj.weight") == "connector"
    assert block_of("lm_head.weight") == HEAD
    assert block_of("vision_tower.patch_embedding.weight") == "patch_embedding"


def test_scorer_and_the_layer_behind_it_are_never_quantized(
    graph: Path, frames: CalibrationFrames, ranges: Ranges, micro_bundle: Bundle
) -> None:
    model = onnx.load(graph, load_external_data=False)
    prune_at = 1
    assert biased_layer(model) == f"layers.{prune_at + 1}"
    found = search_blocks(graph, list(frames.frames[1::2]), ranges, "int8", 0.5, tell_nobody)
    assert not {SCORER, f"layers.{prune_at + 1}"} & found.quantized
    assert found.left[:2] == [SCORER, f"layers.{prune_at + 1}"]


def test_the_worst_blocks_are_left_until_the_kept_sets_agree(
    graph: Path, frames: CalibrationFrames, ranges: Ranges
) -> None:
    """With a bar that rounding misses, all that comes before the choice stays as it is."""
    found = search_blocks(graph, list(frames.frames[1::2]), ranges, "int8", 1.0, tell_nobody)
    assert found.together.kept_iou == 1
    behind = {block for block, alone in found.alone.items() if alone.kept_iou == 1}
    assert found.quantized <= behind


def test_agreement_counts_what_both_keep() -> None:
    ones = np.ones((3, 2), np.float32)
    one, other = Choice(np.array([1, 2, 3]), ones), Choice(np.array([2, 3, 4]), 2 * ones)
    assert agreement([one], [other]).kept_iou == 0.5
    assert agreement([one], [other]).token_error == 0.5


@pytest.mark.parametrize("language", ["int4", "int8"])
def test_a_quantized_bundle_is_smaller_and_answers(
    micro_bundle: Bundle, frames: CalibrationFrames, graph: Path, ranges: Ranges, language: Format, tmp_path: Path
) -> None:
    model = onnx.load(graph, load_external_data=False)
    blocks = blocks_of(model) - {SCORER, biased_layer(model)}
    made = write_quantized(micro_bundle, tmp_path, Recipe(Tower("int8", ranges, blocks), language))
    made.verify_all()
    assert {part["cpu"].quantized for name, part in made.manifest.parts().items() if name != "language"} == {"int8"}
    assert made.manifest.language.graphs["cpu"].quantized == language
    for kind in ("vision", "language"):
        before, after = (
            next(
                record.size_bytes
                for name, record in one.manifest.files.items()
                if name.startswith(kind) and name.endswith("safetensors")
            )
            for one in (micro_bundle, made)
        )
        assert after < 0.7 * before
    manifest = made.manifest
    like = synthetic_window(3, manifest.vision.image_size)
    window = replace(like, frames=frames.frames[1])
    tokens = []
    for bundle in (micro_bundle, made):
        session = Session.open(bundle, "full-t3")
        watched = session.watch(window)
        assert session.ask(watched, "What moves?", 4).tokens.generated > 0
        tokens.append(watched.vision.visual_tokens)
    assert 0 < np.linalg.norm(tokens[1] - tokens[0]) / np.linalg.norm(tokens[0]) < 0.1


def test_products_in_the_graph_are_products_of_integers(
    micro_bundle: Bundle, graph: Path, ranges: Ranges, tmp_path: Path
) -> None:
    """ONNX Runtime finds the standard form and computes in 8 bits; nothing of the scorer is among it."""
    import onnxruntime

    model = onnx.load(graph, load_external_data=False)
    blocks = blocks_of(model) - {SCORER, biased_layer(model)}
    made = write_quantized(micro_bundle, tmp_path, Recipe(Tower("int8", ranges, blocks)))
    path = made.folder / made.manifest.variants[pruned_variant(made)].graphs["cpu"].graph
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path.parent / f"{tmp_path.name}-optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(options.optimized_model_filepath, load_external_data=False)
    integer = [node for node in optimized.graph.node if node.op_type == "QGemm"]
    quantized = [product for product in products_of(model) if product.block in blocks]
    assert len(integer) == len(quantized)
    assert not [node for node in integer if any("scorer" in name for name in node.input)]


# The report


def _record(**changes: Any) -> VariantRecord:
    interval, pair = Interval(value=0.0, low=-1.0, high=1.0), Pair(before=2.0, after=1.0)
    return VariantRecord(
        **{
            "variant": "clip-t3-k0.5",
            "kept_iou": 0.99,
            "same_answers_percent": 100.0,
            "accuracy_before": interval,
            "accuracy_after": interval,
            "points": interval,
            "vision_ms": pair,
            "prefill_ms": pair,
            "decode_ms": pair,
            "total_ms": pair,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kept_iou": 0.9}, "keeps other tokens"),
        ({"points": Interval(value=-1.5, low=-3, high=0)}, "loses 1.50 points"),
        ({"total_ms": Pair(before=1.0, after=1.2)}, "became slower"),
    ],
)
def test_each_bar_can_be_missed(changes: dict[str, Any], words: str) -> None:
    assert failures_of([_record()], "clip-t3-k0.5", Bars()) == []
    (failure,) = failures_of([_record(**changes)], "clip-t3-k0.5", Bars())
    assert words in failure


def test_a_planted_scorer_in_8_bits_is_caught_by_what_it_keeps(
    micro_bundle: Bundle, ranges: Ranges, tmp_path: Path
) -> None:
    """Its tensors are off by little and the tokens by much."""
    coarse = {
        weight: (4 * low, 4 * high) if block_of(weight) == SCORER else (low, high)
        for weight, (low, high) in ranges.of.items()
    }
    planted = write_quantized(
        micro_bundle, tmp_path, Recipe(Tower("int8", Ranges("minmax", coarse), frozenset({SCORER})))
    )
    found = compare(micro_bundle, planted, 6, 1)
    failures = failures_of(variant_records(found), "clip-t6-k0.5", Bars(most_points=100))
    assert any("clip-t6-k0.5 keeps other tokens" in failure for failure in failures)
    assert not [failure for failure in failures if failure.startswith("full-t")]


# The command


def calibrated(bundle: Bundle, out: Path, *arguments: str) -> int:
    """The exit code."""
    given = ["stts-export", "calibrate", str(bundle.folder), "--out", str(out), "--clips", "2", *arguments]
    with patch("sys.argv", given):
        return run_app(app, "stts-export")


@pytest.fixture
def stored(frames: CalibrationFrames, tmp_path: Path) -> str:
    save_frames(tmp_path / "frames.npz", frames)
    return str(tmp_path / "frames.npz")


def test_the_command_writes_a_bundle_with_its_report(
    micro_bundle: Bundle, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = calibrated(
        micro_bundle,
        tmp_path / "made",
        "--frames-from",
        stored,
        "--vision",
        "int8",
        "--language",
        "int4",
        "--force",
        "--report",
        str(tmp_path / "report.json"),
        "--plot",
        str(tmp_path / "report.png"),
        "--json",
    )
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((tmp_path / "made" / "quantization.json").read_text())
    assert report["formats"] == {"vision": "int8", "language": "int4"}
    assert {one["variant"] for one in report["variants"]} == set(micro_bundle.manifest.variants)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    made = Bundle.open(tmp_path / "made")
    made.verify_all()
    assert made.manifest.quantization is not None
    assert made.manifest.quantization.frames_sha256 == report["frames_sha256"]
    assert SCORER in made.manifest.quantization.left_wide


def test_a_language_model_in_float8_says_that_its_times_are_none(
    micro_bundle: Bundle, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CPU multiplies what it made wide again, so a bar of time would fall by chance."""
    given = ["--frames-from", stored, "--vision", "none", "--language", "fp8", "--most-points", "100"]
    assert calibrated(micro_bundle, tmp_path / "made", *given) == 0
    assert "the processor does not compute in these formats: times say nothing" in capsys.readouterr().out
    made = Bundle.open(tmp_path / "made")
    report = json.loads((made.folder / "quantization.json").read_text())
    assert (report["formats"], report["timed"]) == ({"vision": None, "language": "fp8"}, False)
    assert all(one["kept_iou"] == 1 for one in report["variants"])
    assert report["size_mb"]["after"] < report["size_mb"]["before"]
    assert made.manifest.language.graphs["cpu"].quantized == "fp8"
    with patch("sys.argv", ["stts-runtime", "inspect", str(made.folder)]):
        assert run_app(runtime_app, "stts-runtime") == 0
    assert "cpu fp8" in capsys.readouterr().out


def test_what_misses_a_bar_is_refused_with_the_reason_and_nothing_stays(
    micro_bundle: Bundle,
    stored: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stts_calib.calibrate.failures_of", lambda *_: ["clip-t3-k0.5 keeps other tokens"])
    given = ["--frames-from", stored, "--vision", "none", "--language", "int4"]
    assert calibrated(micro_bundle, tmp_path / "made", *given, "--report", str(tmp_path / "report.json")) == 1
    assert "error: clip-t3-k0.5 keeps other tokens (--force writes it all the same)" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    assert json.loads((tmp_path / "report.json").read_text())["failures"] == ["clip-t3-k0.5 keeps other tokens"]
    assert calibrated(micro_bundle, tmp_path / "made", *given, "--force") == 0
    assert Bundle.open(tmp_path / "made").manifest.quantization is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--frames-from", "nowhere.mp4"], "no such file: nowhere.mp4"),
        (["--frames-from", "nowhere.npz"], "no such file: nowhere.npz"),
        (["--frames-from", "rtsp://user:hunter2@/x"], "names no host"),
        (["--frames-from", "FRAMES", "--vision", "none", "--language", "none"], "nothing was asked for"),
        (["--frames-from", "FRAMES", "--language", "fp8", "--scales", "awq"], "--scales awq is for --language int4"),
    ],
)
def test_mistakes_are_one_line(
    micro_bundle: Bundle, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], words: str
) -> None:
    arguments = [stored if word == "FRAMES" else word for word in given]
    assert calibrated(micro_bundle, tmp_path / "made", *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert "hunter2" not in line
    assert not (tmp_path / "made").exists()


def test_a_format_of_the_language_model_is_refused_for_vision(micro_bundle: Bundle, frames: CalibrationFrames) -> None:
    trials = Trials(micro_bundle, frames, "minmax", 0.98, "rtn", tell_nobody)
    with pytest.raises(UserError, match="the vision tower is quantized to int8 or fp8, not to int4"):
        trials.recipe("int4", "none")


@pytest.mark.parametrize("wanted", ["auto", "int4", "fp8"])
def test_what_is_quantized_is_not_quantized_again(
    micro_bundle: Bundle, frames: CalibrationFrames, wanted: Wanted
) -> None:
    """It has no products left to quantize, and would be called by a format that it does not have."""
    language = micro_bundle.manifest.language
    graphs = {name: one.model_copy(update={"quantized": "fp8"}) for name, one in language.graphs.items()}
    changes = {"language": language.model_copy(update={"graphs": graphs})}
    bundle = replace(micro_bundle, manifest=micro_bundle.manifest.model_copy(update=changes))
    trials = Trials(bundle, frames, "minmax", 0.98, "rtn", tell_nobody)
    with pytest.raises(UserError, match="has language in fp8 already: calibrate the bundle that it was made of, or"):
        trials.recipe("none", wanted)


def test_a_bundle_scored_without_training_is_quantized_and_says_so(
    change_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No weight of it scores and no layer is biased, so none is spared; choices are compared as ever."""
    save_frames(tmp_path / "frames.npz", noise_frames(change_bundle))
    given = ["--frames-from", str(tmp_path / "frames.npz"), "--vision", "int8", "--language", "none", "--force"]
    assert calibrated(change_bundle, tmp_path / "made", *given, "--report", str(tmp_path / "report.json")) == 0
    made, report = Bundle.open(tmp_path / "made"), json.loads((tmp_path / "report.json").read_text())
    assert made.manifest.scorer == change_bundle.manifest.scorer
    assert made.manifest.live is not None
    assert change_bundle.manifest.live is not None
    assert made.manifest.live.novelty == change_bundle.manifest.live.novelty
    graph = change_bundle.folder / change_bundle.manifest.variants[pruned_variant(change_bundle)].graphs["cpu"].graph
    assert {one["block"] for one in report["blocks"]} == blocks_of(onnx.load(graph, load_external_data=False))
    assert all(one["kept_iou"] is not None for one in report["blocks"]), "each was tried alone"
    stream = load_incremental(made, 0.5)
    frames = noise_frames(change_bundle).frames[0]
    first = stream.run(frames[0], None, key=True)
    assert stream.run(frames[1], first.pooled, key=False).kept.sum() < first.kept.sum()
    said = capsys.readouterr().out
    assert re.search(r"note: the comparison at the end: about \d+ s for 2 clips, .* GB of memory, at what two", said)
    assert "quantizing blocks, each alone: 0 of " in said
