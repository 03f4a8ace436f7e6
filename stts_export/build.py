"""A checkpoint -> a bundle: every step of `stts-export build`, in order."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx_ir as ir
from torch import Tensor

from stts_export.checkpoint import Checkpoint, load_checkpoint
from stts_export.errors import CheckpointError
from stts_export.graphs.check import check_language, check_onnx, check_vision
from stts_export.graphs.count import count_multiplications
from stts_export.graphs.language_graph import export_language
from stts_export.graphs.vision_graph import export_vision
from stts_export.graphs.weight_file import refer_to_weight_file, used_weights, write_weight_file
from stts_export.lowering import TARGETS
from stts_runtime.budget import Scope, TokenBudget
from stts_runtime.bundle import MANIFEST, SCHEMA_VERSION, Bundle
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    LanguageModel,
    Manifest,
    Passport,
    Positions,
    Prompt,
    VisionModel,
    VisionVariant,
)
from stts_runtime.bundle.publish import published
from stts_runtime.errors import UserError
from stts_runtime.prompt import PromptBuilder

VISION_WEIGHTS = "vision.safetensors"
LANGUAGE_WEIGHTS = "language.safetensors"
LANGUAGE_GRAPH = "language.onnx"
TOKENIZER = "tokenizer.json"

# The first that runs opset 24 on the CPU: 1.24 loads the vision graphs and lacks `TensorScatter` (tried one by one).
_MINIMUM_ONNXRUNTIME = "1.25"
_QUESTION_AND_ANSWER_TOKENS = 512
_LATEST_TIME_SECONDS = 99999.9
_CONTEXT_STEP = 64

Report = Callable[[str], None]


@dataclass(frozen=True)
class BuildRequest:
    """What to build; the names are those of the command line."""

    checkpoint: Path
    out: Path
    frames: Sequence[int]
    keeps: Sequence[float]
    budgets: Sequence[Scope]
    target: str = "cpu"
    max_context: int | None = None
    positions: Positions | None = None
    replace: bool = False
    command: str = "stts-export build"


def build_bundle(request: BuildRequest, report: Report = lambda _: None) -> Bundle:
    """Builds, checks and publishes a bundle; `report` is told each step and each note as one line.

    Raises `UserError` for what the user can put right and `ExportError` if a graph is not right. Nothing is left
    behind in either case.
    """
    if request.target not in TARGETS:
        raise UserError(f"unknown target {request.target!r}; there is {', '.join(TARGETS)}")
    with published(request.out, request.replace) as folder:
        report(f"reading {request.checkpoint}")
        checkpoint = load_checkpoint(request.checkpoint)
        for note in checkpoint.notes:
            report(f"note: {note}")
        _Builder(request, checkpoint, folder, report).run()
    return Bundle.open(request.out)


class _Builder:
    """One build, in a folder that is not yet published."""

    def __init__(self, request: BuildRequest, checkpoint: Checkpoint, folder: Path, report: Report) -> None:
        self.request, self.checkpoint, self.folder, self.report = request, checkpoint, folder, report
        self.target = TARGETS[request.target]
        self.budgets = self._budgets()

    def run(self) -> None:
        prompt = self._prompt()
        context = self._context(prompt)
        variants = self._vision()
        language = self._language(context)
        self._write_manifest(prompt, variants, language)

    def _budgets(self) -> list[TokenBudget]:
        groups = self.checkpoint.config.vision.groups
        budgets: dict[str, TokenBudget] = {}
        for frames in self.request.frames:
            for keep in self.request.keeps:
                for scope in self._scopes(keep):
                    budget = TokenBudget(frames, groups, keep, scope)
                    budgets[budget.name] = budget
        if self.checkpoint.config.scorer is None and any(budget.keep < 1 for budget in budgets.values()):
            raise CheckpointError(
                f"{self.checkpoint.path} has no token scorer (or no `stts` settings in config.json), so it builds at "
                "keep 1 only: pass --keep 1"
            )
        return list(budgets.values())

    def _scopes(self, keep: float) -> Sequence[Scope]:
        """Unpruned windows have no budget to spread; they are listed once, under `clip`."""
        return self.request.budgets if keep < 1 else ("clip",)

    def _prompt(self) -> Prompt:
        text, markers = self.checkpoint.text, self.checkpoint.config.markers
        (self.folder / TOKENIZER).write_bytes(text.tokenizer)
        return Prompt(
            opening=text.opening,
            eos_ids=list(text.eos_ids),
            image_patch_id=markers.image_patch,
            frame_start_id=markers.frame_start,
            frame_end_id=markers.frame_end,
            positions=self._positions(),
            tokenizer=TOKENIZER,
        )

    def _positions(self) -> Positions:
        stts = self.checkpoint.hf_config.stts
        if self.request.positions is not None:
            return self.request.positions
        if stts is not None and stts.positions is not None:
            return stts.positions
        if self.checkpoint.config.scorer is not None:
            self.report(
                "note: config.json has no stts.positions; taking 'original' (a kept token keeps its place in the "
                "unpruned prompt), which is a guess: --positions overrides it"
            )
        return "original"

    def _vision(self) -> dict[str, VisionVariant]:
        models: dict[str, ir.Model] = {}
        for budget in self.budgets:
            self.report(f"exporting vision {budget.name}")
            models[budget.name] = export_vision(self.checkpoint.vision, budget, self.target)
        state = self.checkpoint.vision.state_dict()
        self._write_weights(VISION_WEIGHTS, list(models.values()), state, "vision.")
        return {budget.name: self._vision_variant(budget, models[budget.name]) for budget in self.budgets}

    def _vision_variant(self, budget: TokenBudget, model: ir.Model) -> VisionVariant:
        graph = f"vision.{budget.name}.onnx"
        path = self._write_graph(graph, model, VISION_WEIGHTS, "vision.")
        error = check_vision(path, self.checkpoint.vision, budget)
        self.report(f"checked vision {budget.name}: {error:.1e} from the modules")
        return VisionVariant(
            frames=budget.frames,
            keep=budget.keep,
            budget=budget.scope,
            kept_groups=budget.kept,
            multiplications=count_multiplications(model),
            engine=self._passport(graph, VISION_WEIGHTS),
        )

    def _language(self, context: int) -> LanguageModel:
        language, rows = self.checkpoint.language, max(budget.kept for budget in self.budgets)
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
            multiplications=count_multiplications(model),
            engine=self._passport(LANGUAGE_GRAPH, LANGUAGE_WEIGHTS),
        )

    def _context(self, prompt: Prompt) -> int:
        """Slots for the longest prefix, a question and an answer."""
        builder = PromptBuilder(self.checkpoint.text.tokenizer, prompt)
        longest = 0
        for budget in self.budgets:
            kept = np.zeros((budget.frames, budget.groups), dtype=np.bool_)
            kept.reshape(-1)[: budget.kept] = True
            longest = max(longest, len(builder.video([_LATEST_TIME_SECONDS] * budget.frames, kept)))
        wanted = longest + _QUESTION_AND_ANSWER_TOKENS
        if self.request.max_context is None:
            return -(-wanted // _CONTEXT_STEP) * _CONTEXT_STEP
        if self.request.max_context <= longest:
            raise UserError(
                f"--max-context {self.request.max_context} does not hold a video of {longest} tokens and a question; "
                f"{wanted} leaves {_QUESTION_AND_ANSWER_TOKENS} for question and answer"
            )
        return self.request.max_context

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
            build_command=self.request.command,
        )

    def _write_manifest(self, prompt: Prompt, variants: dict[str, VisionVariant], language: LanguageModel) -> None:
        vision, hf_config = self.checkpoint.config.vision, self.checkpoint.hf_config
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            producer=f"stts-export {version('stts-export')}",
            checkpoint=self.checkpoint.path.resolve().name,
            checkpoint_config_sha256=self.checkpoint.config_sha256,
            random_weights=hf_config.random_weights,
            default_keep=self._default_keep(),
            max_fps=self.checkpoint.max_fps,
            vision=VisionModel(
                image_size=hf_config.vision.image_size[0],
                patch_size=hf_config.vision.patch_size,
                groups_per_side=vision.groups_per_side,
                pool=vision.pool,
            ),
            variants=variants,
            language=language,
            prompt=prompt,
            files={path.name: record_of(path) for path in sorted(self.folder.iterdir())},
        )
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")

    def _default_keep(self) -> float:
        """The keep ratio nearest to the one that the checkpoint was trained at."""
        scorer = self.checkpoint.config.scorer
        trained = 1 if scorer is None else 1 - scorer.trained_prune_fraction
        return min((budget.keep for budget in self.budgets), key=lambda keep: abs(keep - trained))
