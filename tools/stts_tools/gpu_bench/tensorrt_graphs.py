"""Graphs of a released model's size for TensorRT, without the weights that they refer to.

A weight file of a gigabyte is mostly noise in a benchmark, so only its beginning is written: what each weight is called
and where it lies. `scripts/bench_tensorrt.py` fills it up on the device.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from stts_export.graphs.language_graph import export_indexed
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import derived_weights, refer_to_weight_file, used_weights
from stts_export.lowering.tensorrt_8 import TENSORRT_8
from stts_export.precision.half import DTYPES, PrecisionPlan, to_half
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.bundle.publish import published
from stts_runtime.bundle.weight_layout import Stored, lay_out
from stts_runtime.tell import Tell
from stts_tools.gpu_bench.graphs import weightless
from stts_tools.gpu_bench.settings import Settings, prefix_tokens

_NAMES = {2: "F16", 4: "F32"}


def export_tensorrt_graphs(settings: Settings, text_layers: int, folder: Path, tell: Tell) -> None:
    """Writes the graphs of lowering `tensorrt-8`, in fp16, with this many layers of the language model.

    Raises `UserError` if the folder exists or the size is unknown.
    """
    with published(folder) as scratch:
        _export(settings, text_layers, scratch, tell)


def _export(settings: Settings, text_layers: int, folder: Path, tell: Tell) -> None:
    model = settings.model()
    model = dataclasses.replace(model, text=dataclasses.replace(model.text, layers=text_layers))
    vision, language = weightless(model)
    to_half(vision, language, PrecisionPlan("fp16"))
    graphs = {}
    for budget in settings.budgets():
        tell(f"exporting vision {budget.name}")
        graphs[budget.name] = export_vision(vision, budget, TENSORRT_8)
    _save(graphs, vision.state_dict(), VISION, folder)
    context, rows = settings.context, settings.visual_rows
    tell(f"exporting {text_layers} layers of the language model with a context of {context}")
    graph = export_indexed(language, context, context + settings.skipped, rows, TENSORRT_8, DTYPES["fp16"])
    _save({LANGUAGE: graph}, language.state_dict(), LANGUAGE, folder)
    described = {
        "size": settings.size,
        "groups": model.vision.groups,
        "windows": settings.windows,
        "prefixes": {budget.name: prefix_tokens(budget) for budget in settings.budgets()},
        "context": context,
        "text_layers": text_layers,
        "vocabulary": model.text.vocab,
        "image_patch_id": model.markers.image_patch,
    }
    (folder / "graphs.json").write_text(json.dumps(described, indent=1) + "\n")


def _save(graphs: Mapping[str, ir.Model], state: Mapping[str, Tensor], kind: str, folder: Path) -> None:
    """Graphs that share their weights, and the beginning of the weights' file."""
    models, weights = list(graphs.values()), folder / f"{kind}.safetensors"
    used = used_weights(models, state, f"{kind}.")
    like = {**used, **{name: one.like for name, one in derived_weights(models, f"{kind}.").items()}}
    stored = {
        name: Stored(_NAMES[one.element_size()], one.element_size(), tuple(one.shape)) for name, one in like.items()
    }
    beginning, _ = lay_out(stored)
    weights.write_bytes(beginning)
    for name, model in graphs.items():
        refer_to_weight_file(model, weights, f"{kind}.")
        ir.save(model, folder / f"{name}.onnx")
