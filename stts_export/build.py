"""A checkpoint -> a bundle: every step of `stts-export build`, in order."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
from stts_export.graphs.check import check_language, check_onnx, check_vision
from stts_export.graphs.count import count_multiplications
from stts_export.graphs.language_graph import export_language
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import refer_to_weight_file, used_weights, write_weight_file
from stts_export.lowering import TARGETS
from stts_export.plan import TOKENIZER, BuildRequest, Plan, check_memory, plan_bundle
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    LanguageModel,
    Manifest,
    Passport,
    VisionModel,
    VisionVariant,
    schema_needed,
)
from stts_runtime.bundle.publish import published
from stts_runtime.errors import BundleError, UserError

VISION_WEIGHTS = "vision.safetensors"
LANGUAGE_WEIGHTS = "language.safetensors"
LANGUAGE_GRAPH = "language.onnx"

# The first that runs opset 24 on the CPU: 1.24 loads the vision graphs and lacks `TensorScatter` (tried one by one).
_MINIMUM_ONNXRUNTIME = "1.25"

Report = Callable[[str], None]


def build_bundle(request: BuildRequest, report: Report = lambda _: None) -> Bundle:
    """Builds, checks and publishes a bundle; `report` is told each step and each note as one line.

    Raises `UserError` for what the user can put right, before any weight is read where that is possible, and
    `ExportError` if a graph is not right. Nothing is left behind in either case.
    """
    if request.target not in TARGETS:
        raise UserError(f"unknown target {request.target!r}; there is {', '.join(TARGETS)}")
    checkpoint = open_checkpoint(request.checkpoint)
    _check_places(request)
    plan = plan_bundle(request, checkpoint)
    check_memory(checkpoint, plan)
    with published(request.out, may_replace=lambda out: request.replace and _is_bundle(out)) as folder:
        report(f"reading {request.checkpoint}")
        modules = checkpoint.load()
        for note in (*plan.notes, *modules.notes):
            report(f"note: {note}")
        _Builder(request, checkpoint, modules, plan, folder, report).run()
    return Bundle.open(request.out)


def _is_bundle(folder: Path) -> bool:
    try:
        Bundle.open(folder)
    except BundleError:
        return False
    return True


def _check_places(request: BuildRequest) -> None:
    """A bundle may not be written over, into or around its checkpoint."""
    out, checkpoint = request.out.resolve(), request.checkpoint.resolve()
    if out == checkpoint or out in checkpoint.parents or checkpoint in out.parents:
        raise UserError(f"--out {request.out} and the checkpoint {request.checkpoint} lie in one another")


class _Builder:
    """One build, in a folder that is not yet published."""

    def __init__(
        self,
        request: BuildRequest,
        checkpoint: Checkpoint,
        modules: Modules,
        plan: Plan,
        folder: Path,
        report: Report,
    ) -> None:
        self.request, self.checkpoint, self.modules = request, checkpoint, modules
        self.plan, self.folder, self.report = plan, folder, report
        self.target = TARGETS[request.target]

    def run(self) -> None:
        (self.folder / TOKENIZER).write_bytes(self.checkpoint.text.tokenizer)
        variants = self._vision()
        language = self._language()
        self._write_manifest(variants, language)

    def _vision(self) -> dict[str, VisionVariant]:
        models: dict[str, ir.Model] = {}
        for budget in self.plan.budgets:
            self.report(f"exporting vision {budget.name}")
            models[budget.name] = export_vision(self.modules.vision, budget, self.target)
        state = self.modules.vision.state_dict()
        self._write_weights(VISION_WEIGHTS, list(models.values()), state, "vision.")
        return {budget.name: self._vision_variant(budget, models[budget.name]) for budget in self.plan.budgets}

    def _vision_variant(self, budget: TokenBudget, model: ir.Model) -> VisionVariant:
        graph = f"vision.{budget.name}.onnx"
        path = self._write_graph(graph, model, VISION_WEIGHTS, "vision.")
        error = check_vision(path, self.modules.vision, budget)
        self.report(f"checked vision {budget.name}: {error:.1e} from the modules")
        return VisionVariant(
            frames=budget.frames,
            keep=budget.keep,
            budget=budget.scope,
            kept_groups=budget.kept,
            multiplications=count_multiplications(model),
            engine=self._passport(graph, VISION_WEIGHTS),
        )

    def _language(self) -> LanguageModel:
        language, context, rows = self.modules.language, self.plan.context, self.plan.visual_rows
        self.report(f"exporting the language model with a context of {context}")
        model = export_language(language, context, rows, self.target)
        self._write_weights(LANGUAGE_WEIGHTS, [model], language.state_dict(), "language.")
        path = self._write_graph(LANGUAGE_GRAPH, model, LANGUAGE_WEIGHTS, "language.")
        error = check_language(path, language, context, rows)
        self.report(f"checked the language model: {error:.1e} from the modules")
        config = language.config
        return LanguageModel(
            layers=config.layers,
            kv_channels=config.kv_heads * config.head_width,
            context=context,
            visual_rows=rows,
            visual_width=config.width,
            vocabulary=config.vocab,
            multiplications=count_multiplications(model),
            engine=self._passport(LANGUAGE_GRAPH, LANGUAGE_WEIGHTS),
        )

    def _write_weights(self, name: str, models: Sequence[ir.Model], state: dict[str, Tensor], prefix: str) -> None:
        used = used_weights(models, state, prefix)
        write_weight_file(self.folder / name, {key: state[key] for key in sorted(used)})

    def _write_graph(self, name: str, model: ir.Model, weights: str, prefix: str) -> Path:
        refer_to_weight_file(model, self.folder / weights, prefix)
        path = self.folder / name
        ir.save(model, path)
        check_onnx(path)
        return path

    def _passport(self, graph: str, weights: str) -> Passport:
        built_with = {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}
        return Passport(
            target=self.target.name,
            backend="onnxruntime-cpu",
            minimum_backend_version=_MINIMUM_ONNXRUNTIME,
            precision="fp32",
            opset=self.target.opset_version,
            graph=graph,
            weights=weights,
            built_with={**built_with, "python": platform.python_version(), "machine": platform.machine()},
            build_command=self.plan.command,
        )

    def _write_manifest(self, variants: dict[str, VisionVariant], language: LanguageModel) -> None:
        vision, hf_config = self.checkpoint.config.vision, self.checkpoint.hf_config
        manifest = Manifest(
            schema_version=schema_needed(variants.values()),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            producer=f"stts-export {version('stts-export')}",
            checkpoint=self.checkpoint.path.resolve().name,
            checkpoint_config_sha256=self.checkpoint.config_sha256,
            random_weights=hf_config.random_weights,
            default_keep=self.plan.default_keep,
            max_fps=self.checkpoint.max_fps,
            vision=VisionModel(
                image_size=hf_config.vision.image_size[0],
                patch_size=hf_config.vision.patch_size,
                groups_per_side=vision.groups_per_side,
                pool=vision.pool,
            ),
            variants=variants,
            language=language,
            prompt=self.plan.prompt,
            files={path.name: record_of(path) for path in sorted(self.folder.iterdir())},
        )
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
