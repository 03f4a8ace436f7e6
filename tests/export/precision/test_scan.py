"""16 bits: what does not fit fp16 is found and computed in bf16, the scorer stays in float32, formats are recorded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import load_file, save_file
from torch import nn

from stts_export.building import BuildRequest, build_bundle
from stts_export.checkpoint import open_checkpoint
from stts_export.graphs.vision_graph import example_call
from stts_export.modules.layers import RmsNorm
from stts_export.precision import Peak, PrecisionPlan, plan_precision, scan, to_half
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle


def request(checkpoint: Path, out: Path, **changes: object) -> BuildRequest:
    settings: dict[str, Any] = {"targets": ["tensorrt-rtx"], **changes}
    return BuildRequest(checkpoint, out, [2], [0.5], ["clip"], **settings)


@pytest.fixture(scope="module")
def loud_checkpoint(micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Block 3's MLP gives values that fp16 cannot hold, and the next block's takes them away again."""
    path = tmp_path_factory.mktemp("loud") / "checkpoint"
    shutil.copytree(micro_checkpoint, path)
    weights = load_file(path / "model.safetensors")
    (name,) = [name for name in weights if "resblocks.3.feed_forward.w1.weight" in name or "3.mlp.fc1.weight" in name]
    weights[name] = weights[name].float() * 20_000
    save_file({key: value.float() for key, value in weights.items()}, path / "model.safetensors")
    return path


def test_the_scan_sees_every_module_and_the_logits_of_attention() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loud, self.norm = nn.Linear(4, 4, bias=False), RmsNorm(4, 1e-6)
            nn.init.constant_(self.loud.weight, 1000.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.loud(x))
            q = (x * 300)[None, None]
            return nn.functional.scaled_dot_product_attention(q, q, q)

    two = Two()
    peaks = {(peak.module, peak.operator): peak.largest for peak in scan([two], lambda: two(torch.ones(3, 4)))}
    assert peaks["loud", "mm"] == pytest.approx(4000)
    assert peaks["norm", "output"] == pytest.approx(1), "a norm computes in float32 inside"
    assert not [name for name in peaks if name[0] == "norm" and name[1] != "output"]
    assert max(peaks.values()) == pytest.approx(300 * 300 * 4 / 2, rel=1e-3), "logits of attention"


def test_only_what_does_not_fit_is_widened(micro_checkpoint: Path) -> None:
    vision = open_checkpoint(micro_checkpoint).load().vision

    def wide(*peaks: tuple[str, float]) -> tuple[str, ...]:
        return plan_precision("fp16", [Peak(name, "mm", value) for name, value in peaks], vision).wide

    assert wide(("vision_tower.layers.0.mlp.fc1", 30_000.0)) == ()
    assert wide(("vision_tower.layers.0.mlp.fc1", 33_000.0)) == ("vision_tower.layers.0",), (
        "half of the range is kept free"
    )
    assert wide(("language_model.layers.1.mlp", 1e6)) == ("language_model",)
    last = f"vision_tower.layers.{vision.config.vision.feature_layers[0]}"
    assert wide((last, 1e6)) == ("multi_modal_projector", last), "the connector takes what a feature layer gives"
    assert wide(("temporal_token_scorer.mlp.w1", 1e6)) == ()
    assert plan_precision("bf16", [Peak("language_model", "mm", 1e9)], vision) == PrecisionPlan("bf16")


def test_halving_leaves_the_scorer_in_float32(micro_checkpoint: Path) -> None:
    modules = open_checkpoint(micro_checkpoint).load()
    budget = TokenBudget(2, modules.vision.config.vision.groups, 0.5)
    frames = example_call(modules.vision, budget)
    with torch.no_grad():
        wanted = modules.vision(*frames, budget)
        to_half(modules.vision, modules.language, PrecisionPlan("fp16", ("vision_tower.layers.3",)))
        got = modules.vision(*frames, budget)
    types = {name: parameter.dtype for name, parameter in modules.vision.named_parameters()}
    assert {kind for name, kind in types.items() if name.startswith("temporal_token_scorer.")} == {torch.float32}
    assert {kind for name, kind in types.items() if name.startswith("vision_tower.layers.3.")} == {torch.bfloat16}
    assert {kind for name, kind in types.items() if name.startswith("vision_tower.layers.2.")} == {torch.float16}
    assert got.visual_tokens_KW.dtype == torch.float16
    assert torch.dist(got.scores_TG, wanted.scores_TG) < 1e-2 * wanted.scores_TG.norm()


def test_a_loud_checkpoint_builds_with_bf16_where_it_is_loud(loud_checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    bundle = build_bundle(request(loud_checkpoint, tmp_path / "bundle", targets=["tensorrt"]), lines.append)
    (variant,) = bundle.manifest.variants.values()
    graph = variant.graphs["tensorrt"]
    assert graph.precision == "fp16"
    assert "vision_tower.layers.3" in graph.wide
    assert "vision_tower.layers.0" not in graph.wide
    assert any("tensors are too near to the end of fp16" in line for line in lines)
    (loud,) = [line for line in lines if line.startswith("note: vision_tower.layers.3: ")]
    assert "vision_tower.layers.3.mlp.fc1 (addmm)" in loud
    tensors = onnx.load(bundle.folder / graph.graph, load_external_data=False).graph.initializer
    kinds = {tensor.name: tensor.data_type for tensor in tensors}
    assert kinds["vision_tower.layers.3.mlp.fc1.weight"] == TensorProto.BFLOAT16
    assert kinds["vision_tower.layers.1.mlp.fc1.weight"] == TensorProto.FLOAT16
    assert kinds["temporal_token_scorer.mlp.w1.weight"] == TensorProto.FLOAT
    # TensorRT 8.6 has no bf16, and nothing takes its place without a word.
    assert set(bundle.manifest.language.graphs) == set(variant.graphs) == {"tensorrt", "tensorrt-10"}
    (left_out,) = [line for line in lines if line.startswith("note: no tensorrt-8 graphs: ")]
    assert "TensorRT 8.6 has no bf16, in which this model computes" in left_out
    assert "vision_tower.layers.3" in left_out


def test_bf16_throughout_builds_is_checked_and_compiles(micro_checkpoint: Path, tmp_path: Path) -> None:
    from stts_runtime.compile.run import CompileRequest, compile_bundle
    from tests.runtime.compile.test_run import Heard

    bundle = build_bundle(request(micro_checkpoint, tmp_path / "bundle", half="bf16"))
    graphs = [graph for part in bundle.manifest.parts().values() for graph in part.values()]
    assert {graph.precision for graph in graphs} == {"bf16"}
    assert "--precision bf16" in bundle.manifest.build_command
    passports = compile_bundle(CompileRequest(bundle.folder, "tensorrt-rtx", architectures=["sm86"]), Heard())
    assert {passport.precision for passport in passports} == {"bf16"}


CUDA_BFLOAT16 = {
    *("Add", "Div", "Gemm", "LayerNormalization", "MatMul", "Mul", "RMSNormalization", "RotaryEmbedding", "Softmax"),
    *("FastGelu", "GroupQueryAttention", "QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"),
    # These move or choose values of any type.
    *("Cast", "Concat", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "TensorScatter", "Transpose"),
    *("Unsqueeze", "Where"),
}
"""The operators of ours whose CUDA kernels, in the library of onnxruntime-gpu 1.31.1, exist for bfloat16."""


def test_bf16_goes_only_into_operators_that_have_it_on_cuda(micro_checkpoint: Path, tmp_path: Path) -> None:
    bundle = build_bundle(request(micro_checkpoint, tmp_path / "bundle", targets=["cuda"], half="bf16"))
    graphs = {graph.graph for part in bundle.manifest.parts().values() for graph in part.values()}
    graphs.add(bundle.manifest.language.prefill["cuda"].graph)
    for name in graphs:
        graph = onnx.load(bundle.folder / name, load_external_data=False).graph
        described = [*graph.value_info, *graph.input, *graph.output]
        kinds = {value.name: value.type.tensor_type.elem_type for value in described}
        kinds |= {weight.name: weight.data_type for weight in graph.initializer}
        taking = {node.op_type for node in graph.node if any(kinds.get(x) == TensorProto.BFLOAT16 for x in node.input)}
        assert "Gemm" in taking, name
        assert taking <= CUDA_BFLOAT16, name


def test_16_bit_graphs_share_one_weight_file(targets_bundle: Bundle) -> None:
    graphs = targets_bundle.manifest.parts()
    assert {part[name].weights for part in graphs.values() for name in ("tensorrt", "tensorrt-10", "tensorrt-8")} == {
        "vision.16bit.safetensors",
        "language.16bit.safetensors",
    }
    sizes = {
        name: targets_bundle.manifest.files[name].size_bytes
        for name in ("language.safetensors", "language.16bit.safetensors")
    }
    # Lowering `tensorrt-8` has the weights of each norm twice, in a row.
    assert 0.5 < sizes["language.16bit.safetensors"] / sizes["language.safetensors"] < 0.55


def test_the_scan_looks_at_the_video_that_is_given(micro_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    build_bundle(request(micro_checkpoint, tmp_path / "bundle", frames_from=clip), lines.append)
    assert [line for line in lines if line.startswith("scanned clip.mp4: all fits fp16")]


def test_numbers_of_a_bf16_graph_are_those_of_its_weights() -> None:
    """The check computes bf16 parts in float32, which holds their values exactly."""
    from stts_export.graphs.widen import widened

    values = torch.tensor([1.0, -3.1415927, 1e30, 65536.0]).bfloat16()
    tensor = onnx.helper.make_tensor(
        "w", TensorProto.BFLOAT16, [4], values.view(torch.int16).numpy().tobytes(), raw=True
    )
    wide = onnx.numpy_helper.to_array(widened(tensor, Path()))
    np.testing.assert_array_equal(wide, values.float().numpy())
