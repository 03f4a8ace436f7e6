"""What of a recipe each target holds: FP8 for TensorRT, weights as inputs for cuda."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from stts_calib.calibration import CalibrationFrames
from stts_calib.calibration.gather import checkpoint_hash
from stts_calib.calibration.prompts import SeenPrompt, seen_prompts
from stts_calib.calibration.store import Origin
from stts_calib.quantize.aware import check_modelopt
from stts_calib.quantize.choices import agreement, choices
from stts_calib.quantize.float8 import HIGHEST
from stts_calib.quantize.products import SCORER, biased_layer, blocks_of, products_of
from stts_calib.quantize.ranges import Ranges, measure_ranges
from stts_calib.quantize.recipe import Recipe, Tower, TowerFormat
from stts_calib.quantize.weight_file import stored_weights
from stts_calib.quantize.weight_inputs import quantize_inputs, quantized_weight
from stts_calib.quantize.write import forms_of, left_out_of, scratch_bundle, write_quantized
from stts_export.graphs.on_cpu import make_runnable_on_cpu
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Format, Graphs
from stts_runtime.engines import EngineName, load_language, load_vision
from stts_runtime.errors import MissingExtraError, UserError
from stts_runtime.prompt import Tokens
from tests.support.fake_onnxruntime import fake_gpu, ort_value


@pytest.fixture(scope="module")
def bundle(targets_bundle: Bundle) -> Bundle:
    return targets_bundle


@pytest.fixture(scope="module")
def windows(bundle: Bundle) -> list[np.ndarray]:
    size = bundle.manifest.vision.image_size
    return list(np.random.default_rng(0).integers(0, 256, (4, 3, size, size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def graph(bundle: Bundle) -> Path:
    return bundle.folder / bundle.manifest.variants["clip-t3-k0.5"].graphs["cpu"].graph


@pytest.fixture(scope="module")
def ranges(graph: Path, windows: list[np.ndarray]) -> Ranges:
    return measure_ranges(graph, windows[:2], "minmax")


def tower(form: TowerFormat, graph: Path, ranges: Ranges) -> Tower:
    model = onnx.load(graph, load_external_data=False)
    return Tower(form, ranges, blocks_of(model) - {SCORER, biased_layer(model)})


# FP8


def test_products_in_float8_are_near_and_the_scorer_is_untouched(
    graph: Path, ranges: Ranges, windows: list[np.ndarray]
) -> None:
    eight = tower("fp8", graph, ranges)
    model = eight.apply(onnx.load(graph))
    found = agreement(choices(model, windows[2:], "fp8"), choices(graph, windows[2:]))
    # Random weights; the shipped checkpoint's are a quarter of it off.
    assert 0 < found.token_error < 0.3
    narrow = {one.name for one in model.graph.initializer if one.data_type == TensorProto.FLOAT8E4M3FN}
    chosen = {
        one.weight for one in products_of(onnx.load(graph, load_external_data=False)) if one.block in eight.blocks
    }
    assert {f"{weight}.float8" for weight in chosen} <= narrow
    assert not [name for name in narrow if "scorer" in name]


def test_every_channel_of_a_weight_reaches_the_end_of_float8(graph: Path, ranges: Ranges) -> None:
    eight = tower("fp8", graph, ranges)
    before = {one.name: one for one in onnx.load(graph).graph.initializer}
    after = {one.name: one for one in eight.apply(onnx.load(graph)).graph.initializer}
    weight = next(name for name in before if "layers.0.mlp.fc1.weight" in name)
    narrow = numpy_helper.to_array(after[f"{weight}.float8"]).astype(np.float32)
    scales = numpy_helper.to_array(after[f"{weight}.scale"])
    assert (np.abs(narrow).max(axis=1) == HIGHEST).all()
    wide = numpy_helper.to_array(before[weight])
    # Three bits behind the point: half of the last is a sixteenth.
    assert np.abs(narrow * scales[:, None] - wide).max() <= np.abs(wide).max() / 16


def test_float8_is_written_for_tensorrt_alone(bundle: Bundle, graph: Path, ranges: Ranges, tmp_path: Path) -> None:
    made = write_quantized(bundle, tmp_path, Recipe(tower("fp8", graph, ranges)))
    made.verify_all()
    assert set(made.manifest.language.graphs) == {"tensorrt", "tensorrt-10"}
    left_out = left_out_of(bundle, forms_of(bundle, Recipe(tower("fp8", graph, ranges))))
    assert "opset 17, which TensorRT 8.6 reads, has neither FP8 nor int8" in left_out["tensorrt-8"]
    vision = made.manifest.variants["clip-t3-k0.5"].graphs["tensorrt"]
    assert (vision.quantized, made.manifest.language.graphs["tensorrt"].quantized) == ("fp8", None)
    assert made.manifest.files[vision.weights].size_bytes < 0.8 * _weights_size(bundle, "tensorrt")


def test_a_bundle_without_such_targets_is_told_so(micro_bundle: Bundle, graph: Path, ranges: Ranges) -> None:
    with pytest.raises(UserError, match="no graphs that can hold vision in fp8: its targets are cpu"):
        forms_of(micro_bundle, Recipe(tower("fp8", graph, ranges)))


def test_float8_can_be_looked_at_on_the_cpu(
    bundle: Bundle, graph: Path, ranges: Ranges, windows: list[np.ndarray]
) -> None:
    with scratch_bundle(bundle, Recipe(tower("fp8", graph, ranges))) as made:
        got = load_vision(made, "full-t3").run(windows[2]).visual_tokens
    wanted = load_vision(bundle, "full-t3").run(windows[2]).visual_tokens
    assert 0 < _error(got, wanted) < 0.3


def test_the_language_model_in_float8_is_for_the_cpu_and_cuda(bundle: Bundle, tmp_path: Path) -> None:
    recipe = Recipe(language="fp8")
    made = write_quantized(bundle, tmp_path, recipe)
    made.verify_all()
    assert set(made.manifest.language.graphs) == {"cpu", "cuda"}
    assert {one.quantized for one in made.manifest.language.graphs.values()} == {"fp8"}
    left_out = left_out_of(bundle, forms_of(bundle, recipe))
    assert left_out["tensorrt"] == "its graphs can hold none of these formats"
    for target in ("cpu", "cuda"):
        weights = dict(stored_weights(made.folder / made.manifest.language.graphs[target].weights))
        values, scales = (weights[f"language_model.layers.0.mlp.down_proj.weight.fp8{end}"] for end in ("", ".scales"))
        assert values.dtype == ml_dtypes.float8_e4m3fn
        assert scales.dtype == np.float32
        assert scales.shape == (len(values), -(-values.shape[1] // 128))


def test_a_bundle_for_tensorrt_alone_holds_no_language_model_in_float8(bundle: Bundle) -> None:
    def only(graphs: Graphs) -> Graphs:
        return {"tensorrt": graphs["tensorrt"]}

    manifest = bundle.manifest
    variants = {name: one.model_copy(update={"graphs": only(one.graphs)}) for name, one in manifest.variants.items()}
    language = manifest.language.model_copy(update={"graphs": only(manifest.language.graphs)})
    alone = replace(bundle, manifest=manifest.model_copy(update={"variants": variants, "language": language}))
    with pytest.raises(UserError, match="no graphs that can hold language in fp8: its targets are tensorrt "):
        forms_of(alone, Recipe(language="fp8"))


# Integers


def test_weights_of_int8_have_7_bits_on_the_cpu_and_8_for_tensorrt(
    bundle: Bundle, graph: Path, ranges: Ranges, tmp_path: Path
) -> None:
    """ONNX Runtime may add two products in 16 bits; TensorRT adds all of them in 32."""
    made = write_quantized(bundle, tmp_path, Recipe(tower("int8", graph, ranges)))
    largest = {}
    for target, written in made.manifest.variants["full-t3"].graphs.items():
        weights = [values for _, values in stored_weights(made.folder / written.weights) if values.dtype == np.int8]
        largest[target] = max(int(np.abs(values.astype(np.int16)).max()) for values in weights)
    assert largest == {"cpu": 64, "tensorrt": 127, "tensorrt-10": 127}


# cuda


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with fake_gpu(monkeypatch):
        yield


@pytest.mark.parametrize("form", ["int4", "int8", "fp8"])
def test_on_cuda_the_language_model_says_what_it_says_on_the_cpu(
    bundle: Bundle, fake: None, form: Format, tmp_path: Path
) -> None:
    made = write_quantized(bundle, tmp_path, Recipe(language=form))
    made.verify_all()
    language = made.manifest.language
    assert {one["cuda"].quantized for one in (language.graphs, language.prefill)} == {form}
    assert made.manifest.variants["full-t3"].graphs["cuda"] == bundle.manifest.variants["full-t3"].graphs["cuda"]
    got, same, whole = _logits(made, "cuda"), _logits(made, "cpu"), _logits(bundle, "cpu")
    # For 4 bits the CPU rounds activations too.
    assert _error(got, same) < (0.2 * _error(got, whole) if form == "int4" else 5e-3)


def _logits(bundle: Bundle, engine: EngineName) -> np.ndarray:
    language = load_language(bundle, engine)
    language.prefill(Tokens(np.arange(7), np.arange(7), 7))
    language.forward(Tokens(np.array([3]), np.array([7]), 8))
    return language.logits().reshape(-1)


def _error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize(("form", "bar"), [("int4", 0.15), ("int8", 0.01), ("fp8", 0.04)])
def test_joined_weights_are_joined_blocks(form: Format, bar: float) -> None:
    rng = np.random.default_rng(0)
    rows = {"layers.0.a": 64, "layers.0.b": 32}
    parts = {name: rng.normal(size=(count, 96)).astype(np.float16) for name, count in rows.items()}
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        products (float16[2,96] x, float16[96,96] w) => (float16[2,96] y) { y = Gemm <transB = 1> (x, w) }"""
    )
    model.graph.input[1].name = model.graph.node[0].input[1] = "layers.0.a+layers.0.b"
    assert quantize_inputs(model, form) == frozenset(parts)
    make_runnable_on_cpu(model)
    feed = {"x": rng.normal(size=(2, 96)).astype(np.float16)}
    made = [dict(quantized_weight(name, values, form)) for name, values in parts.items()]
    for (first, one), (second, other) in zip(made[0].items(), made[1].items(), strict=True):
        feed[f"{first}+{second}"] = np.concatenate([one, other])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run_with_ort_values(None, {name: ort_value(values) for name, values in feed.items()})
    wanted = feed["x"].astype(np.float32) @ np.concatenate(list(parts.values())).astype(np.float32).T
    assert _error(got.numpy(), wanted) < bar


def _weights_size(bundle: Bundle, target: str) -> int:
    return bundle.manifest.files[bundle.manifest.variants["full-t3"].graphs[target].weights].size_bytes


def test_weights_come_back_from_their_file(bundle: Bundle, graph: Path, ranges: Ranges, tmp_path: Path) -> None:
    made = write_quantized(bundle, tmp_path, Recipe(language="int4"))
    weights = made.manifest.language.graphs["cuda"].weights
    stored = dict(stored_weights(made.folder / weights))
    source = dict(stored_weights(bundle.folder / bundle.manifest.language.graphs["cuda"].weights))
    name = "language_model.layers.0.mlp.down_proj.weight"
    assert name in source
    assert name not in stored
    assert stored[f"{name}.int4"].dtype == np.uint8
    np.testing.assert_array_equal(stored["lm_head.weight"], source["lm_head.weight"])


# Scales that are searched


def test_scales_are_searched_on_what_the_model_sees(bundle: Bundle, windows: list[np.ndarray]) -> None:
    """Random weights gain nothing by it. ModelOpt is in no extra that the tests install by themselves."""
    pytest.importorskip("modelopt", reason="pip install 'stts-export[modelopt]'")
    calibration = CalibrationFrames(
        np.stack(windows), (Origin(source="noise", times_seconds=[0.0, 0.5, 1.0]),) * 4, checkpoint_hash(bundle)
    )
    prompts = seen_prompts(bundle, calibration)
    whole = _prompt_logits(bundle, prompts)
    errors = []
    for recipe in (Recipe(language="int4"), Recipe(language="int4", prompts=prompts)):
        with scratch_bundle(bundle, recipe) as made:
            errors.append(_error(_prompt_logits(made, prompts), whole))
    assert 0 < errors[1] < 1.5 * errors[0]
    assert errors[0] != errors[1]
    assert set(forms_of(bundle, Recipe(language="int4", prompts=prompts))) == {"cpu", "tensorrt"}


def _prompt_logits(bundle: Bundle, prompts: list[SeenPrompt]) -> np.ndarray:
    language, found = load_language(bundle), []
    for prompt in prompts:
        language.rewind(0)
        language.show(prompt.visual_tokens)
        language.forward(Tokens(prompt.ids, prompt.positions, 0))
        found.append(language.logits().copy())
    return np.stack(found)


def test_without_modelopt_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelopt.onnx.quantization.int4", None)
    with pytest.raises(MissingExtraError, match=r"NVIDIA ModelOpt.*pip install 'stts-export\[modelopt\]'"):
        check_modelopt()
