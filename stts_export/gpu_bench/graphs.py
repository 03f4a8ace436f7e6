"""Exports the graphs of a benchmark on any machine, without weights."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch
from torch import nn

from stts_export.checkpoint.streaming import placeholder
from stts_export.gpu_bench.settings import GraphFolder, Settings
from stts_export.graphs.fuse import fuse
from stts_export.graphs.join import join_products
from stts_export.graphs.language_graph import export_prefill, export_step
from stts_export.graphs.vision_graph import export_vision
from stts_export.lowering.cuda import CUDA
from stts_export.modules.config import ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.precision.half import DTYPES, PrecisionPlan, to_half


def export_graphs(settings: Settings, folder: GraphFolder, report: Callable[[str], None]) -> None:
    """Writes the graphs that the settings ask for."""
    folder.path.mkdir(parents=True)
    vision, language = weightless(settings.model())
    half = settings.precision
    assert half in DTYPES
    to_half(vision, language, PrecisionPlan(half))
    for budget in settings.budgets():
        report(f"exporting vision {budget.name}")
        _save(export_vision(vision, budget, CUDA), "vision.", folder.vision(budget))
    report(f"exporting the language model with a context of {settings.context}")
    rows, dtype = settings.visual_rows, vision.multi_modal_projector.dtype
    _save(export_prefill(language, settings.context, rows, CUDA, dtype), "language.", folder.prefill)
    _save(export_step(language, settings.context, settings.context + settings.skipped, CUDA), "language.", folder.step)
    (folder.path / "settings.json").write_text(settings.model_dump_json())


def weightless(config: ModelConfig) -> tuple[Vision, Language]:
    """The modules with placeholders for weights."""
    with torch.device("meta"):
        vision, language = Vision(config), Language(config.text, config.markers)
    for module in (vision, language):
        for owner in module.modules():
            for name, parameter in list(owner.named_parameters(recurse=False)):
                setattr(owner, name, placeholder(parameter.shape))
    return vision, language


def _save(model: ir.Model, prefix: str, path: object) -> None:
    fuse(model)
    for name, value in list(model.graph.initializers.items()):
        if name.startswith(prefix):
            del model.graph.initializers[name]
            value.const_value = None
            value.name = name.removeprefix(prefix)
            model.graph.inputs.append(value)
    join_products(model)
    ir.save(model, str(path))


def parameters(*modules: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for module in modules for name, tensor in module.state_dict().items()}
