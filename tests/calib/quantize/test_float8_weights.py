"""Weights in FP8 by blocks: what they stand for, where they lie, and what the CPU makes of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from stts_calib.quantize.float8 import HIGHEST
from stts_calib.quantize.float8_weights import BLOCK, float8_blocks, quantize_weights_to_float8
from stts_runtime.engines.onnxruntime_session import COMPUTES_WIDE
from stts_tools.decode_bench.reference import pack

SMALLEST = 2.0**-9
"""Of E4M3: its subnormal numbers are this far apart."""

WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=300).filter(lambda shape: shape[0] <= 4),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
    fill=st.floats(-1, 1, width=32),
)


def meant(values: NDArray[np.generic], scales: NDArray[np.float32]) -> NDArray[np.float64]:
    of_value = np.repeat(scales.astype(np.float64), BLOCK, 1)[:, : values.shape[1]]
    return values.astype(np.float32) * of_value


@given(WEIGHTS)
def test_every_value_is_as_near_as_float8_has_them(weight: NDArray[np.float32]) -> None:
    values, scales = float8_blocks(weight)
    assert values.shape == weight.shape
    assert scales.shape == (len(weight), -(-weight.shape[1] // BLOCK))
    assert (scales > 0).all()
    # Three digits behind the point: half of the last is a sixteenth, less where numbers are subnormal.
    of_value = np.repeat(scales.astype(np.float64), BLOCK, 1)[:, : weight.shape[1]]
    allowed = np.maximum(np.abs(weight) / 16, of_value * SMALLEST / 2) * (1 + 1e-6)
    assert (np.abs(meant(values, scales) - weight) <= allowed).all()


@given(WEIGHTS)
def test_a_block_reaches_the_end_of_float8_or_is_zeros(weight: NDArray[np.float32]) -> None:
    values, scales = float8_blocks(weight)
    for block, first in enumerate(range(0, weight.shape[1], BLOCK)):
        highest = np.abs(values[:, first : first + BLOCK].astype(np.float32)).max(axis=1)
        assert ((highest == HIGHEST) | ((highest == 0) & (scales[:, block] == 1))).all()


def test_a_block_is_a_blocks_own_affair() -> None:
    """An outlier takes digits from the 127 beside it and from no other."""
    weight = np.random.default_rng(0).normal(size=(1, 2 * BLOCK)).astype(np.float32)
    before = meant(*float8_blocks(weight))
    weight[0, 3] = 1e4
    after = meant(*float8_blocks(weight))
    np.testing.assert_array_equal(after[0, BLOCK:], before[0, BLOCK:])
    assert not np.array_equal(after[0, :BLOCK], before[0, :BLOCK])


def test_they_lie_as_the_kernels_read_them() -> None:
    weight = np.random.default_rng(1).normal(size=(5, 200)).astype(np.float16)
    values, scales = float8_blocks(weight)
    theirs = pack(weight.astype(np.float32), "float8")
    np.testing.assert_array_equal(scales, theirs.scales)
    # A value in the middle of two may go either way.
    assert (values.view(np.uint8) == theirs.values).mean() > 0.99


@pytest.mark.onnxruntime
@pytest.mark.parametrize("columns", [96, 128, 320])
def test_the_cpu_multiplies_with_what_the_values_stand_for(columns: int) -> None:
    """Of a shared weight there is one copy, and of another block's weight nothing changes."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 24]>
        products (float[3,{columns}] x) => (float[3,64] y, float[3,64] z, float[3,64] head) {{
            y = Gemm <transB = 1> (x, inside)
            z = Gemm <transB = 1> (x, inside)
            head = Gemm <transB = 1> (x, outside)
        }}"""
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"product.{number}"
        node.input[1] = {"inside": "m.layers.0.a", "outside": "lm_head.weight"}[node.input[1]]
    weights = {name: rng.normal(size=(64, columns)).astype(np.float32) for name in ("m.layers.0.a", "lm_head.weight")}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in weights.items())
    model = quantize_weights_to_float8(model, {"layers.0"})
    onnx.checker.check_model(model, full_check=True)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert stored.keys() == {"m.layers.0.a.fp8", "m.layers.0.a.fp8.scales", "lm_head.weight"}
    assert stored["m.layers.0.a.fp8"].dtype == ml_dtypes.float8_e4m3fn
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*COMPUTES_WIDE)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    x = rng.normal(size=(3, columns)).astype(np.float32)
    y, z, head = session.run(None, {"x": x})
    wide = meant(stored["m.layers.0.a.fp8"], stored["m.layers.0.a.fp8.scales"])
    np.testing.assert_allclose(y, x @ wide.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(y, z)
    np.testing.assert_allclose(head, x @ weights["lm_head.weight"].T, rtol=1e-4, atol=1e-4)
