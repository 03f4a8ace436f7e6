"""A checkpoint -> a bundle: every step of `stts-export build`, in order."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stts_export.building.bundle_writer import FLOAT, SIXTEEN_BIT, BundleWriter, Exported, Formats
from stts_export.building.memory import check_memory
from stts_export.building.plan import Plan, plan_bundle
from stts_export.building.proof_writer import write_proof
from stts_export.building.request import BuildRequest
from stts_export.building.scan_run import ScanRun, scan_lines
from stts_export.building.scorer import with_scorer
from stts_export.building.steps import BuildSteps
from stts_export.checkpoint import Checkpoint, LazyModules, open_checkpoint
from stts_export.checkpoint.lazy_weights import real_weights
from stts_export.graphs.check import LanguageCalls, check_incremental, check_language, check_rows, check_vision
from stts_export.graphs.expect import Expectation, example_prompt, expect_incremental, expect_language, expect_vision
from stts_export.graphs.fuse import fuse
from stts_export.graphs.incremental_graph import export_incremental
from stts_export.graphs.language_graph import (
    export_indexed,
    export_language,
    export_prefill,
    export_rows,
    export_step,
)
from stts_export.graphs.vision_graph import export_vision
from stts_export.lowering import CPU, Lowering
from stts_export.precision import PrecisionPlan, plan_precision, scan, to_half
from stts_runtime.budget import IncrementalBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import LANGUAGE, PREFILL, VISION, batch_part, part_and_size, variant_of, vision_part
from stts_runtime.bundle.manifest import Graph
from stts_runtime.bundle.publish import Replaceable, check_apart, check_free, published
from stts_runtime.errors import BundleError
from stts_runtime.prompt import PromptBuilder
from stts_runtime.tell import Tell, tell_nobody

_PREFILL = f"{LANGUAGE}.{PREFILL}"

_RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes, or kilobytes, as the platform counts memory."""


def build_bundle(request: BuildRequest, tell: Tell = tell_nobody) -> Bundle:
    """Builds, checks and publishes a bundle; `tell` is told each step and each note as one line.

    Raises `UserError` for what the user can put right, before any weight is read where that is possible, and
    `ExportError` if a graph is not right. Nothing is left behind in either case.
    """
    started = time.perf_counter()
    check_apart(request.out, request.checkpoint)
    replaceable = Replaceable("a bundle", _is_bundle, request.replace)
    check_free(request.out, replaceable)

    def check(described: Checkpoint) -> None:
        plan_bundle(request, with_scorer(request, described)[0])

    checkpoint, notes = with_scorer(request, open_checkpoint(request.checkpoint, None, tell, check))
    plan = plan_bundle(request, checkpoint)
    needed = check_memory(checkpoint, plan)
    with published(request.out, replaceable) as folder:
        tell(f"note: {needed}")
        tell(f"reading {request.checkpoint}")
        modules = checkpoint.lazy()
        for note in (*notes, *plan.notes, *modules.notes):
            tell(f"note: {note}")
        _Builder(request, checkpoint, modules, plan, folder, tell).run()
    minutes = (time.perf_counter() - started) / 60
    tell(f"{minutes:.1f} minutes, {_peak_bytes() / 1e9:.1f} GB of memory at the peak; {_model_size(checkpoint)}")
    return Bundle.open(request.out)


def _peak_bytes() -> int:
    """The most that this process ever held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RUSAGE_UNIT


def _model_size(checkpoint: Checkpoint) -> str:
    values = checkpoint.files.values()
    return f"the model's {values / 1e6:,.0f} million weights take {2 * values / 1e9:.2f} GB in 16 bits"


def _is_bundle(folder: Path) -> bool:
    try:
        Bundle.open(folder)
    except BundleError:
        return False
    return True


class _Builder:
    """One build, in a folder that is not yet published."""

    def __init__(
        self,
        request: BuildRequest,
        checkpoint: Checkpoint,
        modules: LazyModules,
        plan: Plan,
        folder: Path,
        tell: Tell,
    ) -> None:
        self.request, self.checkpoint, self.modules = request, checkpoint, modules
        self.plan, self.tell = plan, tell
        self.steps = BuildSteps(plan, tell)
        self.writer = BundleWriter(folder, checkpoint, plan)
        self.expected_vision: dict[str, Expectation] = {}
        self.expected_batch: dict[str, Expectation] = {}
        """Expectations for the most frames of streams at once."""
        self.expected_language: list[Expectation] = []

    def run(self) -> None:
        lowerings = self.plan.lowerings
        self._expect()
        wide = self._exported([lowering for lowering in lowerings if not lowering.half])
        self._write([one for one in wide if not one.lowering.half_weights], FLOAT)
        if any(lowering.shares_16_bit_weights for lowering in lowerings):
            # From here on the modules are in 16 bits.
            formats = self._halved()
            half = self._exported(self._able_to_hold(formats, [lowering for lowering in lowerings if lowering.half]))
            self._write([*(one for one in wide if one.lowering.half_weights), *half], formats)
        expected = self.expected_vision, self.expected_language
        write_proof(self.writer.folder, self.checkpoint, self.plan, *expected, self.tell)
        self.writer.manifest()

    def _expect(self) -> None:
        """Runs the modules in float32 on what the graphs will be checked with."""
        vision = self.modules.vision
        with self._real_weights():
            for budget in self.plan.budgets:
                self.steps.begin("running", VISION, f"computing what vision {budget.name} must give")
                self.expected_vision[budget.name] = expect_vision(vision, budget)
            for live in self._incremental_budgets:
                self.steps.begin("running", VISION, f"computing what vision {live.name} must give")
                self.expected_vision[live.name] = expect_incremental(vision, live)
                if sizes := self.plan.frames_at_once(live):
                    self.steps.begin("running", VISION, f"computing what it must give of {max(sizes)} frames at once")
                    self.expected_batch[live.name] = expect_incremental(vision, live, max(sizes))
            self.steps.begin("running", LANGUAGE, "computing what the language model must give")
            self.expected_language = self._expect_language()

    def _expect_language(self) -> list[Expectation]:
        plan = self.plan
        visual_tokens = next(iter(self.expected_vision.values())).outputs["visual_tokens"]
        prompts = PromptBuilder(self.checkpoint.text.tokenizer, plan.prompt)
        prompted = example_prompt(prompts, visual_tokens, plan.context)
        return expect_language(self.modules.language, prompted, plan.prompt.eos_ids, plan.context, plan.visual_rows)

    @property
    def _incremental_budgets(self) -> list[IncrementalBudget]:
        return self.plan.live.budgets if self.plan.live else []

    def _halved(self) -> Formats:
        """Turns the modules into 16 bits, once all that needs them in float32 is done."""
        vision, language = self.modules.vision, self.modules.language
        plan = PrecisionPlan(self.plan.half)
        if self.plan.half == "fp16" and any(lowering.half for lowering in self.plan.lowerings):
            video = self.request.frames_from
            run = ScanRun(self.modules, self.plan, self.checkpoint.text.tokenizer, video, self.checkpoint.max_fps)
            with self._real_weights():
                peaks = scan([vision, language], run)
            plan = plan_precision(self.plan.half, peaks, vision)
            for line in scan_lines(peaks, plan, video):
                self.tell(line)
        to_half(vision, language, plan)
        return Formats(SIXTEEN_BIT, plan.half, plan.language, tuple(plan.vision_wide))

    def _able_to_hold(self, formats: Formats, lowerings: Sequence[Lowering]) -> list[Lowering]:
        """Those whose engines compute in these formats; the others are named, with the reason."""
        unable = [lowering for lowering in lowerings if formats.in_bf16 and not lowering.has_bf16]
        for lowering in unable:
            self.tell(
                f"note: no {lowering.name} graphs: TensorRT {lowering.minimum_backend_version} has no bf16, in which "
                f"this model computes {', '.join(formats.in_bf16)}; float32 there turns its whole engine into float32"
            )
        return [lowering for lowering in lowerings if lowering not in unable]

    @contextmanager
    def _real_weights(self) -> Iterator[None]:
        with (
            real_weights(self.modules.vision, self.modules.read),
            real_weights(self.modules.language, self.modules.read),
        ):
            yield

    def _exported(self, lowerings: Sequence[Lowering]) -> list[Exported]:
        """Graphs of every part in every lowering, in the types that the modules are in."""
        vision = self.modules.vision
        exported = []
        for lowering in lowerings:
            for budget in self.plan.budgets:
                self.steps.begin("exporting", VISION, f"exporting vision {budget.name}{_for(lowering)}")
                model = export_vision(vision, budget, lowering)
                exported.append(Exported(vision_part(budget.name), lowering, model))
            for live in self._incremental_budgets:
                self.steps.begin("exporting", VISION, f"exporting vision {live.name}{_for(lowering)}")
                exported.append(Exported(vision_part(live.name), lowering, export_incremental(vision, live, lowering)))
                exported.extend(self._exported_frames(live, lowering))
            step = f"exporting the language model with a context of {self.plan.context}{_for(lowering)}"
            self.steps.begin("exporting", LANGUAGE, step)
            exported.extend(self._exported_language(lowering))
        for one in exported:
            if one.lowering.fused:
                fuse(one.model)
        return exported

    def _exported_frames(self, live: IncrementalBudget, lowering: Lowering) -> Iterator[Exported]:
        """Exports the frames of several streams at once."""
        for size in self.plan.frames_at_once(live) if self.plan.batches_of(lowering) else ():
            self.steps.begin("exporting", VISION, f"exporting vision {live.name} of {size} frames{_for(lowering)}")
            model = export_incremental(self.modules.vision, live, lowering, size)
            yield Exported(batch_part(vision_part(live.name), size), lowering, model)

    def _exported_language(self, lowering: Lowering) -> Iterator[Exported]:
        plan, language, visual_dtype = self.plan, self.modules.language, self.modules.vision.multi_modal_projector.dtype
        if lowering.prefill_apart:
            model = export_prefill(language, plan.context, plan.visual_rows, lowering, visual_dtype)
            yield Exported(_PREFILL, lowering, model)
            model = export_step(language, plan.context, plan.positions, lowering)
        elif lowering.host_indices:
            model = export_indexed(language, plan.context, plan.positions, plan.visual_rows, lowering, visual_dtype)
        else:
            model = export_language(language, plan.context, plan.visual_rows, lowering, visual_dtype)
        yield Exported(LANGUAGE, lowering, model)
        for size in plan.batches_of(lowering):
            self.steps.begin("exporting", LANGUAGE, f"exporting it for {size} answers at once{_for(lowering)}")
            model = export_rows(language, plan.context, plan.positions, lowering, size)
            yield Exported(batch_part(LANGUAGE, size), lowering, model)

    def _write(self, exported: Sequence[Exported], formats: Formats) -> None:
        """Writes and checks graphs that share their weights, and the weights."""
        states = {VISION: self.modules.vision.state_dict(), LANGUAGE: self.modules.language.state_dict()}
        for kind, state in states.items():
            of_kind = [one for one in exported if one.kind == kind]
            if of_kind:
                self.steps.begin("writing", kind, f"writing the weights of the {kind} graphs")
                self.writer.weights(of_kind, state, self.modules.read, formats)
            for one in of_kind:
                written = self.writer.graph(one, formats)
                if one.part != _PREFILL:
                    self.steps.begin("running", one.kind, f"checking {_described(one)}")
                    self.tell(f"checked {_described(one)}: {self._error(one, written, formats):.1e} from the modules")

    def _error(self, one: Exported, written: Graph, formats: Formats) -> float:
        """How far the graph is from the modules. Raises `ExportError` if that is too far."""
        path, weights = (self.writer.folder / name for name in (written.graph, written.weights))
        part, size = part_and_size(one.part)
        if part == LANGUAGE:
            whole, prefill = (self.writer.written(name, one.lowering) for name in (LANGUAGE, _PREFILL))
            assert whole is not None
            prefix = self.writer.folder / prefill.graph if prefill else None
            calls = LanguageCalls(self.writer.folder / whole.graph, weights, prefix)
            if size > 1:
                return check_rows(path, weights, calls, self.expected_language, formats.language)
            return check_language(calls, self.expected_language, formats.language)
        name = variant_of(part)
        precision = "bf16" if formats.vision_wide else formats.vision
        for live in self._incremental_budgets:
            if name == live.name:
                expected = (self.expected_vision if size == 1 else self.expected_batch)[name]
                return check_incremental(path, weights, expected, live, precision, size)
        (budget,) = (budget for budget in self.plan.budgets if name == budget.name)
        return check_vision(path, weights, self.expected_vision[name], budget, precision)


def _described(one: Exported) -> str:
    part, size = part_and_size(one.part)
    what = "the language model" if part == LANGUAGE else part.replace(".", " ", 1)
    return f"{what}{f' of {size} at once' if size > 1 else ''}{_for(one.lowering)}"


def _for(lowering: Lowering) -> str:
    return "" if lowering is CPU else f" for {lowering.name}"
