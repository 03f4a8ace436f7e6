"""Integer products fit the 16 bits in which x86 without VNNI adds pairs of them, and bundles whose do not are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from stts_calib.calibration.gather import pruned_variant
from stts_calib.quantize.products import SCORER, biased_layer, blocks_of, products_of
from stts_calib.quantize.ranges import Ranges
from stts_calib.quantize.recipe import Recipe, Tower
from stts_calib.quantize.write import write_quantized
from stts_runtime.batch import Batch
from stts_runtime.bundle import Bundle
from stts_runtime.engines import choose_engine
from stts_runtime.inputs import Input
from stts_runtime.model import Model
from stts_runtime.records import Answer
from stts_runtime.session import Wanted

INT16 = np.iinfo(np.int16)
NO_VNNI = frozenset({"avx2", "fma", "avx512bw"})


@pytest.fixture(scope="module")
def recipe(micro_bundle: Bundle) -> Recipe:
    """Ranges of activations are made up: they change no weight."""
    graph = micro_bundle.manifest.variants[pruned_variant(micro_bundle)].graphs["cpu"].graph
    model = onnx.load(micro_bundle.folder / graph, load_external_data=False)
    ranges = Ranges("minmax", {product.weight: (-2.0, 2.0) for product in products_of(model)})
    return Recipe(Tower("int8", ranges, blocks_of(model) - {SCORER, biased_layer(model)}))


@pytest.fixture(scope="module")
def quantized(micro_bundle: Bundle, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_quantized(micro_bundle, tmp_path_factory.mktemp("quantized"), recipe)


@pytest.fixture(scope="module")
def with_8_bits(micro_bundle: Bundle, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """As earlier versions wrote it."""

    def whole_range(*arguments: Any, **options: Any) -> QDQQuantizer:
        return QDQQuantizer(*arguments, **{**options, "reduce_range": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stts_calib.quantize.integer.QDQQuantizer", whole_range)
        return write_quantized(micro_bundle, tmp_path_factory.mktemp("with-8-bits"), recipe)


# The numbers in the graphs


def test_no_two_products_of_a_channel_leave_16_bits(quantized: Bundle, recipe: Recipe) -> None:
    """Whatever the activations are, and whichever two products a CPU adds first."""
    for graph in graphs(quantized):
        sums = list(extreme_sums(graph))
        assert recipe.vision is not None
        assert len(sums) >= 4 * len(recipe.vision.blocks - {"connector"})
        assert all(INT16.min <= lowest and highest <= INT16.max for lowest, highest in sums)


def test_products_of_8_bit_weights_would_leave_them(with_8_bits: Bundle) -> None:
    for graph in graphs(with_8_bits):
        assert all(lowest < INT16.min or highest > INT16.max for lowest, highest in extreme_sums(graph))


def graphs(bundle: Bundle) -> list[Path]:
    return [bundle.folder / variant.graphs["cpu"].graph for variant in bundle.manifest.variants.values()]


def extreme_sums(graph: Path) -> Iterator[tuple[int, int]]:
    """Of every product of integers: the lowest and the highest sum of two of the products that make one output."""
    model = onnx.load(graph)
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    dequantized = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul") and dequantized.keys() >= set(node.input[:2]):
            activation, weight = (dequantized[name] for name in node.input[:2])
            assert not values[weight.input[2]].any()
            yield lowest_and_highest(values[activation.input[2]].dtype, by_channel(node, values[weight.input[0]]))


def by_channel(node: NodeProto, weight: NDArray[Any]) -> NDArray[np.int64]:
    """(outputs, K)"""
    is_transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return (weight if is_transposed else weight.T).astype(np.int64)


def lowest_and_highest(activation: np.dtype[Any], weights: NDArray[np.int64]) -> tuple[int, int]:
    limits = np.iinfo(activation)
    ends = np.stack([limits.min * weights, limits.max * weights])
    lowest, highest = np.sort(ends.min(axis=0)), np.sort(ends.max(axis=0))
    return int(lowest[:, :2].sum(axis=1).min()), int(highest[:, -2:].sum(axis=1).max())


# Bundles of earlier versions


@pytest.fixture
def flags(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stts_runtime.engines.saturation.x86_flags", lambda: request.param)


@pytest.mark.parametrize("flags", [NO_VNNI], indirect=True)
@pytest.mark.usefixtures("flags")
def test_8_bits_are_named_on_a_cpu_without_vnni(with_8_bits: Bundle, clip: Path) -> None:
    (note,) = choose_engine(with_8_bits).notes
    assert (note,) == choose_engine(with_8_bits, "cpu").notes
    assert str(with_8_bits.folder) in note
    assert "this CPU (AVX2 without VNNI)" in note
    assert "stts-export calibrate SOURCE --frames-from VIDEO --vision int8 --language none --out NEW" in note
    outcomes = list(Batch(Model(with_8_bits, "cpu"), ["Who?"], Wanted(frames=3), 1).run([Input(str(clip))]))
    assert [outcome.notes[0] for outcome in outcomes if isinstance(outcome, Answer)] == [note]


@pytest.mark.parametrize(
    "flags",
    [NO_VNNI | {"avx512_vnni"}, NO_VNNI | {"avx_vnni"}, frozenset({"sse4_1", "avx"}), frozenset()],
    indirect=True,
    ids=["avx512_vnni", "avx_vnni", "older", "not x86"],
)
@pytest.mark.usefixtures("flags")
def test_8_bits_are_right_on_other_cpus(with_8_bits: Bundle) -> None:
    assert choose_engine(with_8_bits, "cpu").notes == ()


@pytest.mark.parametrize("flags", [NO_VNNI], indirect=True)
@pytest.mark.usefixtures("flags")
def test_what_does_not_saturate_is_not_named(micro_bundle: Bundle, quantized: Bundle, with_8_bits: Bundle) -> None:
    assert choose_engine(micro_bundle, "cpu").notes == ()
    assert choose_engine(quantized, "cpu").notes == ()
    assert choose_engine(with_8_bits, "tensorrt").notes == ()
