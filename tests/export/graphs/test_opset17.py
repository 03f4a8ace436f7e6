"""Graphs for TensorRT 8.6: nothing is newer than opset 17, or of a kind that its parser refuses or slows down."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from stts_export.errors import ExportError
from stts_export.graphs.derived import DerivedTensor, derive_weights
from stts_export.graphs.opset17 import to_opset17
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering.tensorrt_8 import TENSORRT_8
from stts_export.modules.layers import RmsNorm
from stts_runtime.bundle import Bundle

PARTS = [
    "vision.full-t3",
    "vision.clip-t3-k0.5",
    "vision.frame-t3-k0.5",
    "vision.live-key",
    "vision.live-k0.5",
    "language",
]


def graph_of(bundle: Bundle, part: str) -> onnx.ModelProto:
    return onnx.load(bundle.folder / f"{part}.tensorrt-8.onnx", load_external_data=False)


@pytest.mark.parametrize("part", PARTS)
def test_every_node_is_of_opset_17(targets_bundle: Bundle, part: str) -> None:
    assert sorted(PARTS) == sorted(targets_bundle.manifest.parts())
    onnx.checker.check_model(str(targets_bundle.folder / f"{part}.tensorrt-8.onnx"), full_check=True)
    model = graph_of(targets_bundle, part)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for node in model.graph.node:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=17, domain=node.domain)
        assert not schema.deprecated
        assert {attribute.name for attribute in node.attribute} <= set(schema.attributes), node.name
        assert schema.min_input <= len(node.input) <= schema.max_input, node.name
        assert schema.min_output <= len(node.output) <= schema.max_output, node.name


@pytest.mark.parametrize("part", PARTS)
def test_whole_numbers_fit_int32(targets_bundle: Bundle, part: str) -> None:
    """TensorRT 8.6 computes in INT32 and clamps what is larger, with a warning."""
    for tensor in graph_of(targets_bundle, part).graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            assert np.abs(numpy_helper.to_array(tensor)).max(initial=0) < 1 << 31, tensor.name


@pytest.mark.parametrize("part", ["vision.full-t3", "vision.clip-t3-k0.5"])
def test_nothing_but_a_sum_lies_between_the_products_of_attention(targets_bundle: Bundle, part: str) -> None:
    """And all of it in 16 bits: the condition of fused attention. The scorer's and the connector's pooling is none."""
    graph = onnx.shape_inference.infer_shapes(graph_of(targets_bundle, part)).graph
    types = {value.name: value.type.tensor_type for value in graph.value_info}
    made_by = {name: node for node in graph.node for name in node.output}
    used_by = {name: node for node in graph.node for name in node.input}
    checked = 0
    for softmax in (node for node in graph.node if node.op_type == "Softmax"):
        if len(types[softmax.input[0]].shape.dim) != 4:
            continue
        before, after = made_by[softmax.input[0]], used_by[softmax.output[0]]
        product = made_by[before.input[0]] if before.op_type == "Add" else before
        assert [product.op_type, after.op_type] == ["MatMul", "MatMul"]
        for name in (product.output[0], *before.output, *softmax.output):
            assert types[name].elem_type == TensorProto.FLOAT16
        checked += 1
    assert checked > 0


def test_no_product_of_the_language_model_spreads_an_operand(targets_bundle: Bundle) -> None:
    """Queries share keys and values: repeated over a dimension, TensorRT may copy the cache for each of them."""
    graph = onnx.shape_inference.infer_shapes(graph_of(targets_bundle, "language")).graph
    shapes = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in graph.value_info}
    shapes |= {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in graph.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert len(products) == 2 * 2, "two of each layer"
    for node in products:
        rows, weights = (shapes[name] for name in node.input)
        assert rows[:-2] == weights[:-2] == [1, 2], "batches, and heads of keys"


REFUSED_OR_SLOW = {"Shape", "Size", "CumSum", "Range", "NonZero", "Loop", "If", "Scan"}
"""TensorRT 8.6 refuses much arithmetic on shapes, its CumSum is a loop of as many steps as there are numbers, and sizes
that hang on values end what it can plan ahead."""


@pytest.mark.parametrize("part", PARTS)
def test_no_size_is_computed(targets_bundle: Bundle, part: str) -> None:
    graph = graph_of(targets_bundle, part).graph
    assert not REFUSED_OR_SLOW & {node.op_type for node in graph.node}
    # What says how large something becomes, and where a slice begins, is a constant.
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"Reshape", "Expand", "Unsqueeze", "Squeeze", "Slice", "Split", "Tile", "Pad", "TopK"}:
            assert set(node.input[1:]) <= constants, node.name


def test_every_norm_of_the_language_model_is_one_that_is_computed_in_float32(targets_bundle: Bundle) -> None:
    """A weakly typed network of 8.6 heeds no Cast, but a LayerNormalization says itself in what it computes."""
    model = onnx.shape_inference.infer_shapes(graph_of(targets_bundle, "language"))
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    stash = [attribute.i for node in norms for attribute in node.attribute if attribute.name == "stash_type"]
    assert norms
    assert set(stash) <= {TensorProto.FLOAT}
    assert not {"ReduceMean", "Sqrt", "Pow", "Reciprocal"} & {node.op_type for node in model.graph.node}
    wide = {value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    made = {node.op_type for node in model.graph.node if wide & set(node.output)}
    # Logits are widened, and the highest of them is looked up.
    assert made <= {"Cast", "Concat", "Reshape", "TopK"}, made


@pytest.mark.parametrize("largest", [2.0**-14, 2.0**-7, 1.0, 1200.0, 60000.0])
def test_a_norm_is_right_whatever_the_size_of_its_row(largest: float) -> None:
    """A visual token of the shipped checkpoint reaches 1200, whose square overflows fp16."""
    width, eps = 2560, 1e-6
    rng = np.random.default_rng(0)
    norm = RmsNorm(width, eps)
    norm.weight.data = torch.from_numpy(rng.uniform(0.5, 2, width)).float()
    rows = rng.uniform(-largest, largest, (4, width))
    # One value much larger than the others, as trained models have them, and a row of zeros.
    rows[1] /= 100
    rows[:3, 0], rows[3] = largest, 0
    x = torch.from_numpy(rows).half()
    wide = x.double()
    wanted = wide / (wide.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight.half().double()
    model = ir.to_proto(to_onnx(norm.half(), (x,), ["x"], ["y"], TENSORRT_8))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x.numpy()})
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("lowering", ["tensorrt-8", "tensorrt-10"])
def test_the_language_graph_is_told_what_depends_on_the_number_of_tokens(targets_bundle: Bundle, lowering: str) -> None:
    path = targets_bundle.folder / f"language.{lowering}.onnx"
    graph = onnx.load(path, load_external_data=False).graph
    assert not REFUSED_OR_SLOW & {node.op_type for node in graph.node}
    symbolic = {
        entry.name
        for entry in graph.input
        if any(size.HasField("dim_param") for size in entry.type.tensor_type.shape.dim)
    }
    assert symbolic == {"token_ids", "positions", "slots", "visual_rows"}
    assert {"start", "last"} <= {entry.name for entry in graph.input}


def test_what_opset_18_changed_and_nobody_turns_back_is_an_error() -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([4]))
    node = ir.node("Mish", [x])
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}), ir_version=10)
    with pytest.raises(ExportError, match="opset 18 changed Mish"):
        to_opset17(model)


def test_axes_become_attributes() -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([4, 4]))
    axes = ir.Value(name="axes", const_value=ir.tensor([1], dtype=ir.DataType.INT64, name="axes"))
    node = ir.node("ReduceMax", [x, axes], attributes={"keepdims": 1, "noop_with_empty_axes": 0})
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[axes], opset_imports={"": 18})
    to_opset17(ir.Model(graph, ir_version=10))
    assert len(node.inputs) == 1
    assert {name: value.value for name, value in node.attributes.items()} == {"axes": (1,), "keepdims": 1}


@pytest.mark.parametrize("part", PARTS)
def test_weights_are_taken_as_they_are_stored(targets_bundle: Bundle, part: str) -> None:
    """TensorRT 8.6 gets a product over weights wrong that are put together in the graph. Views are harmless."""
    graph = graph_of(targets_bundle, part).graph
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.input and constants.issuperset(name for name in node.input if name):
            assert node.op_type in {"Reshape", "Squeeze", "Unsqueeze", "Transpose"}, node.name
            constants |= set(node.output)


@pytest.mark.parametrize(
    ("part", "poolings"), [("vision.full-t3", 1), ("vision.clip-t3-k0.5", 2), ("vision.live-key", 2)]
)
def test_a_pooling_is_not_taken_for_an_attention(targets_bundle: Bundle, part: str, poolings: int) -> None:
    """That of the connector, and that of the scorer: something stands between their product and their softmax."""
    graph = graph_of(targets_bundle, part).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    feeds = [made_by[node.input[0]] for node in graph.node if node.op_type == "Softmax"]
    assert feeds.count("Sub") == poolings
    assert set(feeds) <= {"Sub", "MatMul"}


def test_a_derived_weight_may_be_made_of_another() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 18]>
        agraph (float[1, 2] x) => (float[1, 4] y, float[1, 6] z)
        <float[2, 2] left = {1, 2, 3, 4}, float[2, 2] right = {5, 6, 7, 8}>
        {
            both = Concat<axis = 1>(left, right)
            y = MatMul(x, both)
            three = Concat<axis = 1>(both, right)
            z = MatMul(x, three)
        }
    """)
    derive_weights(ir.passes.common.ShapeInferencePass()(model).model, {"left", "right"})
    assert [node.op_type for node in model.graph] == ["MatMul", "MatMul"]
    tensors = [value.const_value for value in model.graph.initializers.values()]
    derived = [one.numpy().tolist() for one in tensors if isinstance(one, DerivedTensor)]
    assert derived == [[[1, 2, 5, 6], [3, 4, 7, 8]], [[1, 2, 5, 6, 5, 6], [3, 4, 7, 8, 7, 8]]]
