"""Faults for `verify` to find, planted one at a time."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import Tensor

FIRST, SECOND = "vision_tower.layers.2.self_attn.q_proj.weight", "vision_tower.layers.3.self_attn.k_proj.weight"
_SCORER_END = "model.vision_tower.temporal_token_scorer.mlp.w3.weight"
_PATCHES = "model.vision_tower.patch_embedding"
_LOUD = 8.0
"""What one channel answers to a checkerboard with, times 588 values; the connector multiplies such values."""


def with_weights(checkpoint: Path, out: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """A copy of the checkpoint with some weights changed."""
    copy = Path(shutil.copytree(checkpoint, out))
    weights = load_file(copy / "model.safetensors")
    change(weights)
    save_file(weights, copy / "model.safetensors")
    return copy


def swap_weights(weights: dict[str, Tensor]) -> None:
    first, second = f"model.{FIRST}", f"model.{SECOND}"
    weights[first], weights[second] = weights[second].clone(), weights[first].clone()


def score_everything_alike(weights: dict[str, Tensor]) -> None:
    weights[_SCORER_END] = torch.zeros_like(weights[_SCORER_END])


def answer_loudly_to_checkerboards(weights: dict[str, Tensor]) -> None:
    """One channel of the patch embedding becomes a detector of what no made-up frame shows."""
    side = 14
    pattern = 1 - 2 * (np.indices((side, side)).sum(axis=0) % 2)
    row = torch.from_numpy(np.repeat(pattern.reshape(-1), 3)).half() * _LOUD
    weights[f"{_PATCHES}.weight"][0] = row
    weights[f"{_PATCHES}.bias"][0] = 0


def checkerboard_clip(path: Path, frames: int, side: int) -> Path:
    """Lossless, every pixel another than its neighbours, at the model's own frame size."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 2, (side, side))
    assert writer.isOpened()
    board = (np.indices((side, side)).sum(axis=0) % 2 == 0).astype(np.uint8) * 255
    for _ in range(frames):
        writer.write(np.repeat(board[:, :, None], 3, axis=2))
    writer.release()
    return path


def break_ties_the_other_way(bundle: Path, graph: str) -> None:
    """Of equal scores the higher number is dropped first in this graph of the bundle, whose manifest is kept true."""
    path = bundle / graph
    model = onnx.load(path, load_external_data=False)
    (sort, *_) = (node for node in model.graph.node if node.op_type == "TopK")
    shapes = {value.name: value.type.tensor_type.shape for value in model.graph.value_info}
    scores = sort.input[0]
    columns = shapes[scores].dim[-1].dim_value
    nudge = numpy_helper.from_array(np.linspace(0, -1e-6, columns, dtype=np.float32), "nudge")
    model.graph.initializer.append(nudge)
    place = list(model.graph.node).index(sort)
    model.graph.node.insert(place, helper.make_node("Add", [scores, "nudge"], ["nudged"]))
    sort.input[0] = "nudged"
    onnx.save(model, path)
    keep_manifest_true(bundle, graph)


def keep_manifest_true(bundle: Path, file: str) -> None:
    content = (bundle / file).read_bytes()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
