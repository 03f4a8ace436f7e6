"""Checks of an exported graph: ONNX's own checker, and its numbers against the modules that it came from.

Graphs with more than 2 GB of weights run piece by piece (`segments`), so that a check needs little memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from stts_export.errors import ExportError
from stts_export.graphs import vision_graph
from stts_export.graphs.language_graph import LanguageGraph, example_call, input_names
from stts_export.graphs.segments import run_in_segments
from stts_export.graphs.vision_graph import VisionGraph
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget

RELATIVE_ERROR = 1e-4
"""Largest error allowed, over the norm of what is compared (float32)."""
CUT_MARGIN = 1e-5
"""A group whose score lies this close to the cut may be kept by one side and dropped by the other."""
WHOLE_BYTES = 2 << 30
"""Weights up to this size are loaded at once."""
_SEEDS = 4


def check_onnx(path: Path) -> None:
    """Raises `ExportError` if ONNX's checker refuses the file."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} is not valid ONNX: {error}") from error


def relative_error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Norm of the difference over the norm of what is wanted."""
    return float(np.linalg.norm(got - wanted) / max(float(np.linalg.norm(wanted)), 1e-12))


def check_vision(path: Path, vision: Vision, budget: TokenBudget) -> float:
    """Runs graph and modules on the same frames; returns the relative error of the visual tokens.

    Raises `ExportError` on a difference that rounding does not explain.
    """
    for seed in range(_SEEDS):
        inputs = vision_graph.example_call(vision, budget, seed)
        named = zip(vision_graph.input_names(budget), inputs, strict=True)
        got = run_in_segments(path, {name: tensor.numpy() for name, tensor in named}, WHOLE_BYTES)
        with torch.no_grad():
            tensors = VisionGraph(vision, budget)(*inputs)
        outputs = zip(vision_graph.output_names(budget), tensors, strict=True)
        wanted = {name: tensor.numpy() for name, tensor in outputs}
        if _same_choice(path, got, wanted, budget):
            return _within(path, "visual tokens", got["visual_tokens"], wanted["visual_tokens"])
    raise ExportError(f"{path.name}: all of {_SEEDS} example clips have ties at the cut; cannot compare")


def _same_choice(
    path: Path, got: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], budget: TokenBudget
) -> bool:
    """Whether both kept the same groups; False if they differ by rounding only."""
    if budget.keep == 1:
        return True
    _within(path, "scores", got["scores"], wanted["scores"])
    if budget.scope == "given":
        return True
    swapped = np.setxor1d(got["kept_groups"], wanted["kept_groups"])
    scores = wanted["scores"].reshape(-1)
    # In scope `frame` every frame has a cut of its own.
    rows = wanted["kept_groups"] // budget.groups
    for group in swapped:
        frame = group // budget.groups
        pool = wanted["kept_groups"][rows == frame] if budget.scope == "frame" else wanted["kept_groups"][rows > 0]
        if abs(scores[group] - scores[pool].min()) > CUT_MARGIN:
            raise ExportError(f"{path.name}: the graph and the modules disagree about group {group}, far from the cut")
    return not swapped.size


def check_language(path: Path, language: Language, context: int, visual_rows: int) -> float:
    """Runs a prefix, a question and a single token through graph and modules; returns the worst relative error."""
    names = input_names(language)
    token_ids, _, _, visual, *caches = example_call(language, context, visual_rows)
    ort_caches: list[NDArray[Any]] = [cache.numpy() for cache in caches]
    module, worst, start = LanguageGraph(language), 0.0, 0
    for tokens in (token_ids, token_ids[:1].repeat(3), token_ids[:1]):
        place = torch.tensor([start])
        positions = torch.arange(start, start + len(tokens))
        inputs: Sequence[Tensor] = (tokens, positions, place, visual)
        with torch.no_grad():
            *caches, logits, _ = module(*inputs, *caches)
        arrays = [tensor.numpy() for tensor in inputs]
        got = run_in_segments(path, dict(zip(names, [*arrays, *ort_caches], strict=True)), WHOLE_BYTES)
        ort_caches = [got[f"new_{name}"] for name in names[len(arrays) :]]
        worst = max(worst, _within(path, "logits", got["logits"], logits.numpy()))
        start += len(tokens)
    return worst


def _within(path: Path, what: str, got: NDArray[Any], wanted: NDArray[Any]) -> float:
    error = relative_error(got, wanted)
    if not error <= RELATIVE_ERROR:
        raise ExportError(f"{path.name}: {what} differ from the modules by {error:.2g} of their norm")
    return error
