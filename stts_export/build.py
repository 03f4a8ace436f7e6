"""A checkpoint -> a bundle: every step of `stts-export build`, in order."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from stts_export.checkpoint import Checkpoint, StreamedModules, open_checkpoint
from stts_export.checkpoint.stream_writer import write_safetensors
from stts_export.checkpoint.streaming import real_weights
from stts_export.graphs.check import (
    Expectation,
    check_language,
    check_onnx,
    check_vision,
    expect_language,
    expect_vision,
)
from stts_export.graphs.count import count_multiplications
from stts_export.graphs.language_graph import export_language
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import refer_to_weight_file, used_weights
from stts_export.lowering import CPU, Lowering
from stts_export.plan import TOKENIZER, BuildRequest, Plan, check_memory, plan_bundle
from stts_export.precision import PrecisionPlan, plan_precision, scan, to_half
from stts_export.precision.sample import ScanRun, scan_lines
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    LANGUAGE,
    SCHEMA_VERSION,
    VISION,
    Graph,
    LanguageModel,
    Manifest,
    Precision,
    VisionModel,
    VisionVariant,
)
from stts_runtime.bundle.publish import published
from stts_runtime.errors import BundleError, UserError

Report = Callable[[str], None]


def build_bundle(request: BuildRequest, report: Report = lambda _: None) -> Bundle:
    """Builds, checks and publishes a bundle; `report` is told each step and each note as one line.

    Raises `UserError` for what the user can put right, before any weight is read where that is possible, and
    `ExportError` if a graph is not right. Nothing is left behind in either case.
    """
    checkpoint = open_checkpoint(request.checkpoint)
    _check_places(request)
    plan = plan_bundle(request, checkpoint)
    check_memory(checkpoint, plan)
    with published(request.out, may_replace=lambda out: request.replace and _is_bundle(out)) as folder:
        report(f"reading {request.checkpoint}")
        modules = checkpoint.stream()
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


@dataclass(frozen=True)
class _Formats:
    """What the modules compute in at the moment, and what that adds to the names of weight files."""

    suffix: str
    vision: Precision
    language: Precision
    vision_wide: list[str]


_FLOAT = _Formats("", "fp32", "fp32", [])
_SIXTEEN_BIT = "16bit."


class _Builder:
    """One build, in a folder that is not yet published."""

    def __init__(
        self,
        request: BuildRequest,
        checkpoint: Checkpoint,
        modules: StreamedModules,
        plan: Plan,
        folder: Path,
        report: Report,
    ) -> None:
        self.request, self.checkpoint, self.modules = request, checkpoint, modules
        self.plan, self.folder, self.report = plan, folder, report
        self.graphs: dict[str, dict[str, Graph]] = {}
        """By part, then by lowering."""
        self.expected_vision: dict[str, Expectation] = {}
        self.expected_language: list[Expectation] = []

    def run(self) -> None:
        (self.folder / TOKENIZER).write_bytes(self.checkpoint.text.tokenizer)
        vision, language = self.modules.vision, self.modules.language
        with self._real_weights():
            for budget in self.plan.budgets:
                self.report(f"computing what vision {budget.name} must give")
                self.expected_vision[budget.name] = expect_vision(vision, budget)
            self.report("computing what the language model must give")
            self.expected_language = expect_language(language, self.plan.context, self.plan.visual_rows)
        self._write_graphs([lowering for lowering in self.plan.lowerings if not lowering.half], _FLOAT)
        half = [lowering for lowering in self.plan.lowerings if lowering.half]
        if half:
            self._write_graphs(half, self._halved())
        self._write_manifest()

    def _halved(self) -> _Formats:
        """Turns the modules into 16 bits, once all that needs them in float32 is done."""
        vision, language = self.modules.vision, self.modules.language
        plan = PrecisionPlan(self.plan.half)
        if self.plan.half == "fp16":
            video = self.request.frames_from
            run = ScanRun(self.modules, self.plan, self.checkpoint.text.tokenizer, video, self.checkpoint.max_fps)
            with self._real_weights():
                peaks = scan([vision, language], run)
            plan = plan_precision(self.plan.half, peaks, vision)
            for line in scan_lines(peaks, plan, video):
                self.report(line)
        to_half(vision, language, plan)
        return _Formats(_SIXTEEN_BIT, plan.half, plan.language, plan.vision_wide)

    @contextmanager
    def _real_weights(self) -> Iterator[None]:
        with (
            real_weights(self.modules.vision, self.modules.read),
            real_weights(self.modules.language, self.modules.read),
        ):
            yield

    def _write_graphs(self, lowerings: Sequence[Lowering], formats: _Formats) -> None:
        if lowerings:
            self._vision(lowerings, formats)
            self._language(lowerings, formats)

    def _vision(self, lowerings: Sequence[Lowering], formats: _Formats) -> None:
        vision, weights = self.modules.vision, f"{VISION}.{formats.suffix}safetensors"
        models: list[tuple[Lowering, TokenBudget, ir.Model]] = []
        for lowering in lowerings:
            for budget in self.plan.budgets:
                self.report(f"exporting vision {budget.name}{_for(lowering)}")
                models.append((lowering, budget, export_vision(vision, budget, lowering)))
        self._write_weights(weights, [model for *_, model in models], vision.state_dict(), "vision.")
        for lowering, budget, model in models:
            part, expected = f"{VISION}.{budget.name}", self.expected_vision[budget.name]
            path = self._write_graph(part, lowering, model, weights, "vision.")
            error = check_vision(path, expected, budget, "bf16" if formats.vision_wide else formats.vision)
            self.report(f"checked vision {budget.name}{_for(lowering)}: {error:.1e} from the modules")
            self._record(part, lowering, model, weights, formats.vision, formats.vision_wide)

    def _language(self, lowerings: Sequence[Lowering], formats: _Formats) -> None:
        language, context, rows = self.modules.language, self.plan.context, self.plan.visual_rows
        weights = f"{LANGUAGE}.{formats.suffix}safetensors"
        visual_dtype = self.modules.vision.multi_modal_projector.dtype
        models: list[tuple[Lowering, ir.Model]] = []
        for lowering in lowerings:
            self.report(f"exporting the language model with a context of {context}{_for(lowering)}")
            models.append((lowering, export_language(language, context, rows, lowering, visual_dtype)))
        self._write_weights(weights, [model for _, model in models], language.state_dict(), "language.")
        for lowering, model in models:
            path = self._write_graph(LANGUAGE, lowering, model, weights, "language.")
            error = check_language(path, self.expected_language, formats.language)
            self.report(f"checked the language model{_for(lowering)}: {error:.1e} from the modules")
            self._record(LANGUAGE, lowering, model, weights, formats.language, [])

    def _write_weights(self, name: str, models: Sequence[ir.Model], state: dict[str, Tensor], prefix: str) -> None:
        write_safetensors(self.folder / name, used_weights(models, state, prefix), self.modules.read)

    def _write_graph(self, part: str, lowering: Lowering, model: ir.Model, weights: str, prefix: str) -> Path:
        refer_to_weight_file(model, self.folder / weights, prefix)
        path = self.folder / _graph_name(part, lowering)
        ir.save(model, path)
        check_onnx(path)
        return path

    def _record(
        self, part: str, lowering: Lowering, model: ir.Model, weights: str, precision: Precision, wide: list[str]
    ) -> None:
        self.graphs.setdefault(part, {})[lowering.name] = Graph(
            backend=lowering.backend,
            minimum_backend_version=lowering.minimum_backend_version,
            precision=precision,
            wide=wide,
            opset=lowering.opset_version,
            caches_in_place=lowering.caches_in_place,
            graph=_graph_name(part, lowering),
            weights=weights,
            multiplications=count_multiplications(model),
        )

    def _write_manifest(self) -> None:
        vision, hf_config = self.checkpoint.config.vision, self.checkpoint.hf_config
        built_with = {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            producer=f"stts-export {version('stts-export')}",
            built_with={**built_with, "python": platform.python_version(), "machine": platform.machine()},
            build_command=self.plan.command,
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
            variants={budget.name: self._variant(budget) for budget in self.plan.budgets},
            language=self._language_model(),
            prompt=self.plan.prompt,
            files={path.name: record_of(path) for path in sorted(self.folder.iterdir())},
        )
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")

    def _variant(self, budget: TokenBudget) -> VisionVariant:
        return VisionVariant(
            frames=budget.frames,
            keep=budget.keep,
            budget=budget.scope,
            kept_groups=budget.kept,
            graphs=self.graphs[f"{VISION}.{budget.name}"],
        )

    def _language_model(self) -> LanguageModel:
        config = self.modules.language.config
        return LanguageModel(
            layers=config.layers,
            kv_channels=config.kv_heads * config.head_width,
            context=self.plan.context,
            visual_rows=self.plan.visual_rows,
            visual_width=config.width,
            vocabulary=config.vocab,
            graphs=self.graphs[LANGUAGE],
        )


def _graph_name(part: str, lowering: Lowering) -> str:
    return f"{part}.onnx" if lowering is CPU else f"{part}.{lowering.name}.onnx"


def _for(lowering: Lowering) -> str:
    return "" if lowering is CPU else f" for {lowering.name}"
