"""What a build writes: weight files, graphs that refer into them, and the manifest, in a folder not yet published."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from stts_export.building.plan import TOKENIZER, IncrementalPlan, Plan
from stts_export.building.scorer import features_record, scorer_record
from stts_export.checkpoint import Checkpoint
from stts_export.checkpoint.lazy_weights import Read
from stts_export.checkpoint.safetensors_writer import write_safetensors
from stts_export.graphs.check import check_onnx
from stts_export.graphs.count import count_multiplications
from stts_export.graphs.weight_file import (
    derived_weights,
    refer_to_weight_file,
    take_weights_as_inputs,
    used_weights,
)
from stts_export.lowering import CPU, Lowering
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import MANIFEST
from stts_runtime.bundle.contract import LANGUAGE, PREFILL, VISION, batch_part
from stts_runtime.bundle.files import record_of
from stts_runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Batch,
    Graph,
    IncrementalVariant,
    LanguageModel,
    Live,
    Manifest,
    Precision,
    VisionModel,
    VisionVariant,
)
from stts_runtime.leftovers import own_files


@dataclass(frozen=True)
class Formats:
    """What the modules are in at the moment, and what that adds to the names of weight files."""

    suffix: str
    vision: Precision
    language: Precision
    vision_wide: tuple[str, ...] = ()
    """Parts of the tower in bf16 where the rest is in fp16."""

    @property
    def in_bf16(self) -> list[str]:
        """What computes in bf16."""
        kinds = {"vision": self.vision, "language": self.language}
        return [*self.vision_wide, *(kind for kind, precision in kinds.items() if precision == "bf16")]


FLOAT = Formats("", "fp32", "fp32")
SIXTEEN_BIT = "16bit."


@dataclass(frozen=True)
class Exported:
    """A graph that has its weights' names, and not yet their file."""

    part: str
    """`vision.<variant>`, `language` or `language.prefill`; of several rows with `.x<rows>` after it."""
    lowering: Lowering
    model: ir.Model

    @property
    def kind(self) -> str:
        """`vision` or `language`: whose weights it uses."""
        return self.part.partition(".")[0]


class BundleWriter:
    """Writes one bundle; a graph is in the manifest once it was written."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, plan: Plan) -> None:
        self.folder, self.checkpoint, self.plan = folder, checkpoint, plan
        self._graphs: dict[str, dict[str, Graph]] = {}
        (folder / TOKENIZER).write_bytes(checkpoint.text.tokenizer)

    def weights(self, exported: Sequence[Exported], state: dict[str, Tensor], read: Read, formats: Formats) -> None:
        """Writes the weights that graphs of one kind use, with those they derive, in the types of `state`."""
        kind = exported[0].kind
        models, prefix = [one.model for one in exported], f"{kind}."
        derived = derived_weights(models, prefix)
        like = used_weights(models, state, prefix) | {name: one.like for name, one in derived.items()}

        def read_or_derive(name: str) -> Tensor:
            return derived[name].weight(read, prefix) if name in derived else read(name)

        # `verify` derives them again.
        metadata = {name: one.text for name, one in derived.items()}
        write_safetensors(self.folder / _weight_file(kind, formats), like, read_or_derive, metadata)

    def written(self, part: str, lowering: Lowering) -> Graph | None:
        """What the manifest will say of a part's graph; None if there is none so far."""
        return self._graphs.get(part, {}).get(lowering.name)

    def graph(self, exported: Exported, formats: Formats) -> Graph:
        """Writes a graph whose weights are written. Raises `ExportError` if ONNX's checker refuses it."""
        part, lowering, model = exported.part, exported.lowering, exported.model
        weights = _weight_file(exported.kind, formats)
        attach = take_weights_as_inputs if lowering.weights_as_inputs else refer_to_weight_file
        attach(model, self.folder / weights, f"{exported.kind}.")
        path = self.folder / _graph_name(part, lowering)
        ir.save(model, path)
        check_onnx(path)
        halves = formats if lowering.half else FLOAT
        record = Graph(
            backend=lowering.backend,
            minimum_backend_version=lowering.minimum_backend_version,
            precision=halves.language if exported.kind == LANGUAGE else halves.vision,
            wide=[] if exported.kind == LANGUAGE else list(halves.vision_wide),
            opset=lowering.opset_version,
            caches_in_place=lowering.caches_in_place,
            graph=path.name,
            weights=weights,
            multiplications=count_multiplications(model).total,
        )
        self._graphs.setdefault(part, {})[lowering.name] = record
        return record

    def manifest(self) -> None:
        """Writes the manifest, which is what makes the folder a bundle."""
        vision, hf_config = self.checkpoint.config.vision, self.checkpoint.hf_config
        built_with = {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            producer=f"stts-export {version('stts-export')}",
            built_with={**built_with, "python": platform.python_version(), "machine": platform.machine()},
            build_command=self.plan.command,
            checkpoint=self.checkpoint.name,
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
            scorer=scorer_record(self.checkpoint.config) if self.plan.prunes else None,
            variants={budget.name: self._variant(budget) for budget in self.plan.budgets},
            live=None if self.plan.live is None else self._live(self.plan.live),
            language=self._language_model(),
            prompt=self.plan.prompt,
            files={path.name: record_of(path) for path in own_files(self.folder)},
        )
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")

    def _variant(self, budget: TokenBudget) -> VisionVariant:
        return VisionVariant(
            frames=budget.frames,
            keep=budget.keep,
            budget=budget.scope,
            kept_groups=budget.kept,
            graphs=self._graphs[f"{VISION}.{budget.name}"],
        )

    def _live(self, plan: IncrementalPlan) -> Live:
        variants = {
            budget.name: IncrementalVariant(
                keep=budget.keep,
                kept_groups=budget.kept,
                graphs=self._graphs[f"{VISION}.{budget.name}"],
                batches=self._batches(f"{VISION}.{budget.name}"),
            )
            for budget in plan.budgets
        }
        features = features_record(self.checkpoint.config)
        return Live(frames=plan.frames, key_every=plan.key_every, **features, variants=variants)

    def _language_model(self) -> LanguageModel:
        config = self.checkpoint.config.text
        return LanguageModel(
            layers=config.layers,
            kv_channels=config.kv_heads * config.head_dim,
            context=self.plan.context,
            visual_rows=self.plan.visual_rows,
            visual_width=config.width,
            vocabulary=config.vocab,
            graphs=self._graphs[LANGUAGE],
            prefill=self._graphs.get(f"{LANGUAGE}.{PREFILL}", {}),
            batches=self._batches(LANGUAGE),
        )

    def _batches(self, part: str) -> list[Batch]:
        names = {size: batch_part(part, size) for size in self.plan.batches}
        return [Batch(size=size, graphs=self._graphs[name]) for size, name in names.items() if name in self._graphs]


def _weight_file(kind: str, formats: Formats) -> str:
    return f"{kind}.{formats.suffix}safetensors"


def _graph_name(part: str, lowering: Lowering) -> str:
    return f"{part}.onnx" if lowering is CPU else f"{part}.{lowering.name}.onnx"
