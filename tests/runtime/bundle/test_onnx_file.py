"""ONNX files read without onnx, against onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stts_runtime.bundle.onnx_file import read_onnx
from stts_runtime.errors import BundleError

onnx = pytest.importorskip("onnx")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    arrays = {
        "halves": np.array([[1.5, -2.0, 65504.0]], np.float16),
        "numbers": np.array([-1, 1 << 40], np.int64),
        "one": np.float32(0.25),
    }
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    wide = helper.make_tensor(
        "wide", TensorProto.BFLOAT16, [2], np.array([0x3F80, 0xC000], np.uint16).tobytes(), raw=True
    )
    node = helper.make_node("Gemm", ["x", "", "halves"], ["y"], "its name", alpha=0.5, transB=1, negative=-3, text="a")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "graph", [], [output], [*constants, wide]))
    file = tmp_path / "graph.onnx"
    onnx.save(model, file)
    return file


def test_nodes_and_constants_are_what_was_written(path: Path) -> None:
    file = read_onnx(path)
    (node,) = file.nodes
    assert (node.type, node.inputs, node.outputs) == ("Gemm", ("x", "", "halves"), ("y",))
    assert node.attributes == {"alpha": 0.5, "transB": 1, "negative": -3}
    np.testing.assert_array_equal(file.constants["halves"], np.array([[1.5, -2.0, 65504.0]], np.float16))
    np.testing.assert_array_equal(file.constants["numbers"], [-1, 1 << 40])
    np.testing.assert_array_equal(file.constants["wide"], np.array([1.0, -2.0], np.float32))
    assert file.constants["one"].shape == ()


def test_any_beginning_of_a_file_is_read_or_damaged(path: Path) -> None:
    content = path.read_bytes()
    damaged = 0
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            read_onnx(path)
        except BundleError:
            damaged += 1
    assert damaged > 0.9 * len(content)


def test_noise_is_read_or_damaged(path: Path) -> None:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(500):
        noisy = content.copy()
        noisy[rng.integers(0, len(noisy), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(noisy.tobytes())
        try:
            read_onnx(path)
        except BundleError as error:
            assert "damaged" in str(error)  # noqa: PT017
