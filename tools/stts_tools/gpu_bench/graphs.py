"""Exports the graphs of a benchmark on any machine, without weights."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import Tensor

from stts_calib.quantize.weight_inputs import quantize_inputs
from stts_export.checkpoint.lazy_weights import hold_small_weights
from stts_export.graphs.count import count_multiplications
from stts_export.graphs.fuse import fuse
from stts_export.graphs.language_graph import export_prefill, export_step
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import take_as_inputs, used_weights
from stts_export.lowering.cuda import CUDA
from stts_export.modules.config import ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.precision.half import DTYPES, PrecisionPlan, to_half
from stts_runtime.bundle.contract import LANGUAGE, VISION
from stts_runtime.bundle.manifest import FORMATS
from stts_runtime.bundle.publish import published
from stts_runtime.tell import Tell
from stts_tools.gpu_bench.peak_memory import peak_bytes
from stts_tools.gpu_bench.settings import GraphFolder, GraphWork, Settings, prefix_tokens


def export_graphs(settings: Settings, folder: GraphFolder, tell: Tell) -> None:
    """Writes the graphs that the settings ask for; raises `UserError` if the folder exists or the size is unknown."""
    with published(folder.path) as scratch:
        _export(settings, GraphFolder(scratch), tell)


def _export(settings: Settings, folder: GraphFolder, tell: Tell) -> None:
    vision, language = weightless(settings.model())
    half = settings.precision
    assert half in DTYPES
    to_half(vision, language, PrecisionPlan(half))
    state = {VISION: vision.state_dict(), LANGUAGE: language.state_dict()}
    work = {}
    for budget in settings.budgets():
        tell(f"exporting vision {budget.name}")
        graph = _saved(export_vision(vision, budget, CUDA), VISION, state, folder.vision(budget))
        work[budget.name] = _work(graph)
    context, rows, dtype = settings.context, settings.visual_rows, vision.multi_modal_projector.dtype
    tell(f"exporting the language model with a context of {context}")
    prefill = export_prefill(language, context, rows, CUDA, dtype)
    longest = max(prefix_tokens(budget) for budget in settings.budgets())
    work[folder.prefill.stem] = _work(_saved(prefill, LANGUAGE, state, folder.prefill), longest)
    _saved(export_step(language, context, context + settings.skipped, CUDA), LANGUAGE, state, folder.step)
    for form in FORMATS:
        for whole, quantized in zip(folder.language(), folder.language(form), strict=True):
            graph = onnx.load(whole)
            quantize_inputs(graph, form)
            onnx.save(graph, quantized)
    (folder.path / "settings.json").write_text(settings.model_copy(update={"work": work}).model_dump_json(indent=1))


def weightless(config: ModelConfig) -> tuple[Vision, Language]:
    """The modules with placeholders for weights; small ones, of which equal ones would become one, are random."""
    with torch.device("meta"):
        vision, language = Vision(config), Language(config.text, config.markers)
    for module in (vision, language):
        shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        hold_small_weights(module, partial(_random, shapes))
    return vision, language


def _random(shapes: Mapping[str, torch.Size], name: str) -> Tensor:
    return torch.randn(shapes[name], generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def _saved(model: ir.Model, kind: str, state: Mapping[str, Mapping[str, Tensor]], path: Path) -> ir.Model:
    fuse(model)
    take_as_inputs(model, [f"{kind}.{name}" for name in used_weights([model], state[kind], f"{kind}.")], f"{kind}.")
    ir.save(model, path)
    return model


def _work(model: ir.Model, tokens: int = 1) -> GraphWork:
    counted = count_multiplications(model)
    return GraphWork(products=counted.products, attention=counted.attention, live_bytes=peak_bytes(model, tokens))
