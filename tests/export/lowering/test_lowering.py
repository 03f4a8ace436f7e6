"""Every way of writing an operator down means the same: each lowering, in ONNX Runtime, against the body."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from stts_export.graphs.on_cpu import make_runnable_on_cpu
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import LOWERINGS, TARGETS, Lowering
from stts_export.modules import operators
from stts_export.modules.change import ChangeScorer
from stts_export.modules.config import ChangeConfig, VisionConfig
from stts_export.modules.operators import cache_merge, cache_write, keep_highest, masked_attention
from stts_export.modules.packing import packed_self_attention
from stts_export.modules.slots import Indices, slots_of
from stts_runtime.bundle import Bundle


class Call(nn.Module):
    def __init__(self, operator: Callable[..., Tensor], *attributes: Any) -> None:
        super().__init__()
        self.operator, self.attributes = operator, attributes

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.operator(*inputs, *self.attributes)


def through_onnx(lowering: Lowering, call: nn.Module, *inputs: Tensor) -> np.ndarray:
    return session_of(lowering, call, *inputs)(*inputs)


def session_of(lowering: Lowering, call: nn.Module, *inputs: Tensor) -> Callable[..., np.ndarray]:
    """Exported with `inputs`, to be run with others of their shapes."""
    names = [f"input{number}" for number in range(len(inputs))]
    model = ir.to_proto(to_onnx(call, inputs, names, ["output"], lowering))
    make_runnable_on_cpu(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> np.ndarray:
        feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        output: np.ndarray = session.run(None, feeds)[0]
        return output

    return run


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


# Of queries, their bias, of keys and of values.
WEIGHTS = (tokens(16, 16) / 4, tokens(16), tokens(17, 16)[:16] / 4, tokens(18, 16)[:16] / 4)

CALLS: dict[str, tuple[Call, tuple[Tensor, ...]]] = {
    "attention": (Call(operators.attention, 2), (tokens(3, 5, 16), tokens(3, 7, 16), tokens(4, 7, 16)[:3])),
    "biased_self_attention": (
        Call(operators.biased_self_attention, 2),
        (tokens(15, 16), *WEIGHTS, -tokens(3, 5).abs()),
    ),
    "rotate": (Call(operators.rotate, 2), (tokens(1, 5, 16), tokens(1, 5, 4), tokens(1, 6, 4)[:, :5])),
    "rms_norm": (Call(operators.rms_norm, 1e-6), (tokens(5, 16) * 100, tokens(16))),
    "keep_highest": (Call(keep_highest, 4), (tokens(1, 9),)),
    "gated": (Call(operators.gated), (tokens(5, 16), tokens(6, 16)[:5])),
    "group_mean": (Call(operators.group_mean), (tokens(5, 9, 16),)),
    # The second frame keeps nothing, the last neither.
    "packed_self_attention": (
        Call(packed_self_attention, 4, 4, 2),
        (tokens(14, 16), *WEIGHTS, torch.tensor([0, 0, 0, 0, 2, 2, 2])),
    ),
}


@pytest.mark.parametrize("lowering", LOWERINGS.values(), ids=lambda lowering: lowering.name)
def test_change_is_scored_alike_by_every_lowering(lowering: Lowering) -> None:
    """Three frames that are alike: the later two score exactly the same in all of them."""
    vision = VisionConfig(width=32, layers=5, heads=2, mlp_width=48, grid=6, patch_values=588, feature_layers=(4, 2))
    scorer, hidden = ChangeScorer(vision, ChangeConfig(1)), tokens(1, 5, 4, 9, 32)
    hidden[:, 2:4] = hidden[:, 1:2]
    scores = through_onnx(lowering, scorer, hidden)
    assert (scores[:, 2] == scores[:, 3]).all()
    assert (scores[:, 1] > scores[:, 2]).all()
    np.testing.assert_allclose(scores, scorer(hidden).numpy(), atol=1e-4)


class Step(nn.Module):
    """Three tokens behind slot 4, of 4 heads over 2, of width 16 (which fused operators take) or 8 (which they do not).

    `norm` is how many channels are normed at once.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, norms: Tensor, tables: Tensor, cache: Tensor) -> Tensor:
        positions, last = torch.tensor([9, 10, 11]), torch.tensor([6], dtype=torch.int32)
        q_norm, k_norm = norms[: q.shape[1]], norms[: k.shape[1]]
        if norms.shape[0] == cache.shape[-1]:
            q_norm, k_norm = norms, norms
        return operators.causal_attention(
            q, k, v, q_norm, k_norm, 1e-6, tables[0], tables[1], positions, cache, cache, last, 4, 2
        )[0]


@pytest.mark.parametrize(
    "lowering",
    [one for one in LOWERINGS.values() if one.caches_by_head and not one.host_indices],
    ids=lambda one: one.name,
)
@pytest.mark.parametrize(("width", "normed_at_once"), [(16, 16), (8, 8), (16, 64)])
def test_a_step_attends_to_its_cache(lowering: Lowering, width: int, normed_at_once: int) -> None:
    inputs = (
        tokens(3, 4 * width),
        tokens(4, 2 * width)[:3],
        tokens(5, 2 * width)[:3],
        tokens(normed_at_once),
        tokens(2, 12, width // 2),
        tokens(1, 2, 10, width),
    )
    wanted = Step()(*inputs).numpy()
    np.testing.assert_allclose(through_onnx(lowering, Step(), *inputs), wanted, atol=5e-6)


@pytest.mark.parametrize("lowering", LOWERINGS.values(), ids=lambda lowering: lowering.name)
@pytest.mark.parametrize("name", CALLS)
def test_a_lowering_computes_what_the_body_computes(name: str, lowering: Lowering) -> None:
    call, inputs = CALLS[name]
    np.testing.assert_allclose(through_onnx(lowering, call, *inputs), call(*inputs).numpy(), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(
    "lowering", [one for one in LOWERINGS.values() if not one.prefill_apart], ids=lambda lowering: lowering.name
)
@pytest.mark.parametrize("start", [0, 3, 7])
def test_caches_of_either_layout_are_written_and_read(lowering: Lowering, start: int) -> None:
    heads, kv_heads, width, slots = 4, 2, 8, 10
    shape = (1, kv_heads, slots, width) if lowering.caches_by_head else (1, slots, kv_heads * width)
    place, new, q = torch.tensor([start]), tokens(1, 3, kv_heads * width), tokens(1, 3, heads * width)
    last = place + 2
    seen = torch.arange(slots)[None, :] <= start + torch.arange(3)[:, None]

    def step(cache: Tensor, new: Tensor, place: Tensor, last: Tensor, q: Tensor) -> Tensor:
        if lowering.host_indices:
            to = slots_of(Indices(place, place, last, place), slots)
            written = cache_merge(cache, new, to.row_S, to.is_new_S)
        else:
            written = cache_write(cache, new, place)
        return masked_attention(q, written, written, seen, heads, kv_heads)

    flat = tokens(1, slots, kv_heads * width)
    cache = flat.unflatten(-1, (kv_heads, width)).transpose(1, 2).contiguous() if len(shape) == 4 else flat
    got = through_onnx(lowering, Call(step), cache, new, place, last, q)
    wanted = masked_attention(q, *(cache_write(flat, new, place),) * 2, seen, heads, kv_heads)
    np.testing.assert_allclose(got, wanted.numpy(), atol=2e-6)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (6, 2), (8, 1), (3, 3)])
@pytest.mark.parametrize("length", [1, 5])
def test_queries_that_share_keys_are_rows_of_one_product(heads: int, kv_heads: int, length: int) -> None:
    """Each sees slots of its own, in no order."""
    width, slots = 8, 12
    q, k = tokens(1, length, heads * width), tokens(1, kv_heads, slots, width)
    v = tokens(2, kv_heads, slots, width)[1:]
    seen = tokens(length, slots) > 0
    seen[:, 3] = True
    call = Call(masked_attention, heads, kv_heads)
    got = through_onnx(LOWERINGS["tensorrt-8"], call, q, k, v, seen)
    np.testing.assert_allclose(got, call(q, k, v, seen).numpy(), atol=2e-6)


class Choice(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=-1)


@pytest.mark.parametrize("vocabulary", [441, 2048, 2500])
def test_the_highest_of_stretches_is_the_highest(vocabulary: int) -> None:
    """The lower of two equal ones, too, and one among numbers that are all very low."""
    logits = torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(vocabulary)).clamp(max=3)
    run = session_of(LOWERINGS["tensorrt-8"], Choice(), logits)
    for place in (0, 6, vocabulary // 2, vocabulary - 1):
        for twin in (place, vocabulary - 1):
            highest = logits.clone()
            highest[0, [place, twin]] = 4
            for one in (highest, highest - 65500):
                assert run(one).tolist() == [place]


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-10", "tensorrt-8"])
@pytest.mark.parametrize("seed", range(5))
def test_counting_ranks_is_a_stable_sort(name: str, seed: int) -> None:
    """Ties are where a top-k of an engine may differ; few levels make many of them."""
    scores = torch.randint(0, 4, (2, 37), generator=torch.Generator().manual_seed(seed)).float() / 4
    for kept in (1, 18, 36, 37):
        got = through_onnx(LOWERINGS[name], Call(keep_highest, kept), scores)
        np.testing.assert_array_equal(got, keep_highest(scores, kept).numpy())


def test_counting_ranks_beyond_what_tensorrt_sorts() -> None:
    """128 frames of 81 groups: K is 5,103 and TensorRT's TopK ends at 3,840."""
    scores = torch.rand(1, 10287, generator=torch.Generator().manual_seed(0))
    got = through_onnx(LOWERINGS["tensorrt"], Call(keep_highest, 5103), scores)
    np.testing.assert_array_equal(got, keep_highest(scores, 5103).numpy())


def operators_of(path: Path) -> tuple[set[str], int]:
    model = onnx.load(path, load_external_data=False)
    return {node.op_type for node in model.graph.node}, model.opset_import[0].version


@pytest.mark.parametrize("part", ["vision.clip-t3-k0.5", "language"])
def test_each_graph_has_only_operators_that_its_engine_knows(targets_bundle: Bundle, part: str) -> None:
    newer = {"Attention", "TensorScatter", "RotaryEmbedding", "RMSNormalization"}
    standard, opset = operators_of(targets_bundle.folder / f"{part}.tensorrt.onnx")
    assert (opset, standard & {"TopK", "RotaryEmbedding"} <= {"TopK"}) == (24, True)
    assert "Attention" in standard
    decomposed, opset = operators_of(targets_bundle.folder / f"{part}.tensorrt-10.onnx")
    assert opset == 20
    assert not decomposed & newer


def test_attention_is_by_head_with_a_mask_for_tensorrt(targets_bundle: Bundle) -> None:
    """TensorRT 10.15 reads neither three dimensions nor lengths."""
    for part in ("vision.clip-t3-k0.5", "language"):
        graph = onnx.load(targets_bundle.folder / f"{part}.tensorrt.onnx", load_external_data=False).graph
        shapes = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input)}
        for node in graph.node:
            if node.op_type == "Attention":
                assert len(node.input) <= 4
                assert [shapes.get(name, 4) for name in node.input[:3]] == [4, 4, 4]


def test_no_selection_is_left_to_topk_for_tensorrt(targets_bundle: Bundle) -> None:
    graph = onnx.load(targets_bundle.folder / "vision.clip-t3-k0.5.tensorrt.onnx", load_external_data=False).graph
    sizes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    for node in graph.node:
        if node.op_type == "TopK":
            assert sizes[node.output[0]][-1].dim_value <= 3, "frames are sorted, groups are not"


def test_targets_name_lowerings_that_exist() -> None:
    assert {name for names in TARGETS.values() for name in names} == set(LOWERINGS)


REAL = {"FLOAT", "FLOAT16", "BFLOAT16"}
WHOLE = {"INT32", "INT64"}
# The rows of TensorRT 10.15's own list (docs/operators.md of its ONNX parser) that not every type is in.
TENSORRT_TYPES = {
    "ArgMax": REAL | WHOLE,
    "Attention": REAL,
    "Clip": REAL,
    "Cos": REAL,
    "CumSum": REAL,
    "Div": REAL | WHOLE,
    "Floor": REAL,
    "Gelu": REAL | WHOLE,
    "Gemm": REAL,
    "LayerNormalization": REAL,
    "Log": REAL,
    "MatMul": REAL,
    "RMSNormalization": REAL,
    "ReduceMax": REAL | WHOLE,
    "ReduceMean": REAL | WHOLE,
    "ReduceSum": REAL | WHOLE,
    "Sigmoid": REAL,
    "Sin": REAL,
    "Softmax": REAL,
    "Sqrt": REAL,
    "TensorScatter": REAL | {"INT32"},
    "TopK": REAL | WHOLE,
}


@pytest.mark.parametrize("part", ["vision.full-t3", "vision.clip-t3-k0.5", "language"])
@pytest.mark.parametrize("lowering", ["tensorrt", "tensorrt-10"])
def test_operators_take_the_types_that_tensorrt_lists(targets_bundle: Bundle, part: str, lowering: str) -> None:
    """TensorRT-RTX compiles more than the list of TensorRT 10.15 allows, so compiling there proves little here."""
    path = targets_bundle.folder / f"{part}.{lowering}.onnx"
    graph = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    checked = 0
    for node in graph.node:
        kind = onnx.TensorProto.DataType.Name(types[node.input[0]]) if node.input else ""
        assert kind != "UINT8" or node.op_type == "Cast", "bytes come in and go no further"
        if node.op_type in TENSORRT_TYPES:
            assert kind in TENSORRT_TYPES[node.op_type], f"{node.op_type} of {kind}"
            checked += 1
    assert checked > 20
