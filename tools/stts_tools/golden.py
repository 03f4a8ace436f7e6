"""Golden files: outputs of the reference implementation, and how close this one comes to them.

A file holds the weights of a small random vision tower with a scorer, its input patches, and what the reference code
computed from them with refill off (see `tests/data/README.md` for the fields).
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stts_export.graphs.on_cpu import make_runnable_on_cpu
from stts_export.graphs.to_onnx import to_onnx
from stts_export.lowering import LOWERINGS
from stts_export.modules.config import (
    ConnectorConfig,
    MarkerIds,
    ModelConfig,
    RotaryConfig,
    ScorerConfig,
    TextConfig,
    VisionConfig,
)
from stts_export.modules.vision import Vision
from stts_export.modules.vit import group_order
from stts_export.molmo2.names import own_name
from stts_runtime.budget import TokenBudget
from stts_runtime.errors import UserError
from stts_runtime.references.bars import relative_error

FEATURE_ERROR = 1e-4
"""Largest error of scores and features, over the norm of the reference's."""
_OUTPUTS = ("scores", "kept_groups", "hidden_after_bias_layer", "hidden_last")

Array = NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """A golden file, read."""

    path: Path
    config: ModelConfig
    budget: TokenBudget
    weights: dict[str, Tensor]
    patches_TNP: Tensor
    """Normalised patches in group order."""
    expected: dict[str, Array]


@dataclass(frozen=True)
class Comparison:
    """One implementation against the reference."""

    what: str
    swapped_groups: int
    score_error: float
    bias_layer_error: float
    last_layer_error: float

    @property
    def passes(self) -> bool:
        errors = (self.score_error, self.bias_layer_error, self.last_layer_error)
        return self.swapped_groups == 0 and all(error <= FEATURE_ERROR for error in errors)


class GoldenGraph(nn.Module):
    """The vision tower from patches to hidden rows, as the golden files have it."""

    def __init__(self, golden: Golden) -> None:
        super().__init__()
        assert golden.config.scorer is not None
        self.vision, self.budget = Vision(golden.config), golden.budget
        self.bias_layer, self.last = golden.config.scorer.prune_at + 1, golden.config.vision.layers - 1
        missing, unexpected = self.vision.load_state_dict(golden.weights, strict=False)
        missing = [name for name in missing if not name.startswith("multi_modal_projector.")]
        if missing or unexpected:
            raise UserError(f"{golden.path}: weights do not fit: missing {missing[:3]}, unknown {unexpected[:3]}")

    def forward(self, patches_TNP: Tensor) -> tuple[Tensor, ...]:
        layers = frozenset((self.bias_layer, self.last))
        hidden = self.vision.hidden(patches_TNP.unsqueeze(0), self.budget, layers)
        assert hidden.scores_BTG is not None
        assert hidden.kept_BK is not None
        chosen = hidden.scores_BTG.squeeze(0), hidden.kept_BK.squeeze(0)
        return (*chosen, hidden.by_layer[self.bias_layer], hidden.by_layer[self.last])


def read_golden(path: Path) -> Golden:
    """Raises `UserError` if the file is not a golden file."""
    try:
        with np.load(path) as archive:
            content = {name: archive[name] for name in archive.files}
        meta = json.loads(bytes(content["meta"]))
        config = _config(meta, content)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a golden file: {error}") from None
    if meta.get("act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise UserError(f"{path}: activation {meta['act']!r} is not supported")
    order = group_order(config.vision)
    return Golden(
        path=path,
        config=config,
        budget=TokenBudget(meta["frames"], config.vision.groups, round(1 - meta["prune_fraction"], 6)),
        weights=_weights(content),
        patches_TNP=torch.from_numpy(content["pixel_patches"])[:, order].contiguous(),
        expected={name: content[name] for name in ("scores", "kept_patches", *_OUTPUTS[2:])},
    )


def _config(meta: dict[str, Any], content: dict[str, Array]) -> ModelConfig:
    vision = VisionConfig(
        width=meta["hidden"],
        layers=meta["layers"],
        heads=meta["heads"],
        mlp_width=meta["mlp"],
        grid=meta["grid"],
        patch_values=content["pixel_patches"].shape[2],
        feature_layers=(meta["layers"] - 1,),
        pool=meta["pool"],
        norm_eps=meta["ln_eps"],
    )
    scorer_width = content["w/transformer.temporal_token_scorer.mlp.w1.weight"].shape[0]
    scorer = ScorerConfig(meta["prune_after_layer"], scorer_width, meta["prune_fraction"], meta["rescale_min"])
    # The files stop at the tower's last layer, so what comes after it may be of any shape.
    connector = ConnectorConfig(heads=1, head_dim=8, pooled_width=8, mlp_width=8, text_width=8)
    text = TextConfig(8, 1, 1, 1, 8, 8, 8, 0, RotaryConfig(10000.0))
    return ModelConfig(vision, connector, text, MarkerIds(0, 1, 2), scorer)


def _weights(content: dict[str, Array]) -> dict[str, Tensor]:
    weights = {}
    for name, array in content.items():
        if name.startswith("w/"):
            weights[own_name("vision_backbone.image_vit." + name[2:])] = torch.from_numpy(array)
    return weights


def compare_modules(golden: Golden) -> Comparison:
    """Runs the PyTorch modules."""
    with torch.no_grad():
        outputs = GoldenGraph(golden)(golden.patches_TNP)
    return _compared("modules", golden, [tensor.numpy() for tensor in outputs])


def compare_onnx(golden: Golden, lowering: str) -> Comparison:
    """Exports the same computation, in float32 whatever the lowering is for, and runs it in ONNX Runtime."""
    model = to_onnx(GoldenGraph(golden), (golden.patches_TNP,), ["patches"], _OUTPUTS, LOWERINGS[lowering])
    proto = ir.to_proto(model)
    make_runnable_on_cpu(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return _compared(f"{lowering} graph", golden, session.run(None, {"patches": golden.patches_TNP.numpy()}))


def write_graph(golden: Golden, lowering: str, folder: Path) -> None:
    """NAME.onnx, and its input in NAME.in.npz, for an engine elsewhere."""
    model = to_onnx(GoldenGraph(golden), (golden.patches_TNP,), ["patches"], _OUTPUTS, LOWERINGS[lowering])
    ir.save(model, folder / f"{golden.path.stem}.onnx")
    np.savez(folder / f"{golden.path.stem}.in.npz", patches=golden.patches_TNP.numpy())


def compare_outputs(golden: Golden, folder: Path) -> Comparison:
    """What an engine elsewhere made of it: NAME.out.npz. Raises `UserError` if that is not there."""
    path = folder / f"{golden.path.stem}.out.npz"
    try:
        with np.load(path) as content:
            outputs = [content[name] for name in _OUTPUTS]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} holds no outputs of a golden graph: {error}") from None
    return _compared(str(folder), golden, outputs)


def _compared(what: str, golden: Golden, outputs: list[Array]) -> Comparison:
    scores, kept_groups, after_bias, last = outputs
    vision, frames = golden.config.vision, golden.budget.frames
    everything = np.arange(frames * vision.groups)
    kept = _row_major(np.isin(everything, kept_groups).repeat(vision.patches_per_group)[:, None], golden)[..., 0]
    spread = np.zeros((len(everything), vision.patches_per_group, vision.width), dtype=last.dtype)
    spread[kept_groups] = last.reshape(-1, vision.patches_per_group, vision.width)
    expected = golden.expected
    return Comparison(
        what=what,
        swapped_groups=int((kept != expected["kept_patches"]).sum()) // vision.patches_per_group,
        score_error=relative_error(scores, expected["scores"]),
        bias_layer_error=relative_error(_row_major(after_bias, golden), expected["hidden_after_bias_layer"]),
        last_layer_error=relative_error(_row_major(spread, golden), expected["hidden_last"]),
    )


def _row_major(rows: Array, golden: Golden) -> Array:
    """Rows of patches in group order, of any leading shape -> (T, N, D) in the reference's row-major order."""
    vision = golden.config.vision
    by_frame = rows.reshape(golden.budget.frames, vision.patches, -1)
    ordered = np.empty_like(by_frame)
    ordered[:, group_order(vision).numpy()] = by_frame
    return ordered
