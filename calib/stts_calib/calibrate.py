"""A bundle -> a smaller one that still chooses the same tokens: every step of `stts-export calibrate`, in order."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stts_calib.calibration import CalibrationFrames, gather, load_frames, save_frames
from stts_calib.calibration.check import check_frames
from stts_calib.calibration.gather import pruned_variant
from stts_calib.calibration.store import SUFFIX
from stts_calib.comparison import Bars, BlockRecord, QuantizationReport, Tried, compare
from stts_calib.comparison.compare import Comparison
from stts_calib.comparison.report import Pair, failures_of, size_mb, variant_records
from stts_calib.comparison.resident import resident_mb
from stts_calib.quantize.ranges import Method, check_ranges, measure_ranges
from stts_calib.quantize.search import Found, search_blocks
from stts_calib.quantize.write import Recipe, write_quantized
from stts_runtime.bench import machine
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.manifest import LANGUAGE, VISION, Format, Quantization
from stts_runtime.bundle.publish import check_apart, published
from stts_runtime.errors import SttsError, UserError

Wanted = Literal["auto", "none"] | Format
REPORT = "quantization.json"
_TRIAL_CLIPS = 8
_TRIAL_TOKENS = 16
_TRIED: dict[str, tuple[Format, ...]] = {VISION: ("int8",), LANGUAGE: ("int4", "int8")}


class NotWorthItError(SttsError):
    """The quantized bundle misses a bar; the report says which."""

    def __init__(self, report: QuantizationReport) -> None:
        super().__init__(f"{'; '.join(report.failures)} (--force writes it all the same)")
        self.report = report


@dataclass(frozen=True)
class CalibrationRequest:
    bundle: Path
    out: Path
    frames_from: Sequence[str]
    """Sources, or one file of stored frames."""
    count: int = 16
    method: Method = "minmax"
    vision: Wanted = "auto"
    language: Wanted = "auto"
    clips: int = 250
    questions: int = 4
    bars: Bars = field(default_factory=Bars)
    save_frames: Path | None = None
    force: bool = False
    """Write what misses a bar too."""


def calibrate(request: CalibrationRequest, report: Callable[[str], None] = lambda _: None) -> QuantizationReport:
    """Writes `request.out`; `report` is told each step as one line.

    Raises `UserError` for frames or a bundle that will not do, and `NotWorthItError`, with the report, if a bar is
    missed. Nothing is left behind in either case.
    """
    check_apart(request.out, request.bundle)
    bundle = Bundle.open(request.bundle)
    calibration = _frames(request, bundle, report)
    check_frames(calibration, bundle)
    with published(request.out) as folder:
        made = _Calibration(request, bundle, calibration, report).run(folder)
        if made.failures and not request.force:
            raise NotWorthItError(made)
    return made


def _frames(request: CalibrationRequest, bundle: Bundle, report: Callable[[str], None]) -> CalibrationFrames:
    sources = request.frames_from
    if len(sources) == 1 and sources[0].endswith(SUFFIX):
        return load_frames(Path(sources[0]))
    report("looking for frames that differ")
    calibration = gather(bundle, sources, request.count)
    if request.save_frames is not None:
        save_frames(request.save_frames, calibration)
    return calibration


class _Calibration:
    """One run, in a folder that is not yet published."""

    def __init__(
        self,
        request: CalibrationRequest,
        bundle: Bundle,
        calibration: CalibrationFrames,
        report: Callable[[str], None],
    ) -> None:
        self.request, self.bundle, self.calibration, self.report = request, bundle, calibration, report
        self.variant = pruned_variant(bundle)
        self.tried: list[Tried] = []
        self.found: Found | None = None

    def run(self, folder: Path) -> QuantizationReport:
        recipe = self._recipe()
        # The manifest names the report's hash, so the report is there first; what it says is measured on a copy.
        with self._scratch(recipe) as scratch:
            made = self._report(recipe, scratch)
        (folder / REPORT).write_text(made.model_dump_json(indent=1) + "\n")
        write_quantized(self.bundle, folder, recipe, self._provenance())
        return made

    def _recipe(self) -> Recipe:
        """What was asked for, or whatever is faster by itself."""
        recipe = Recipe()
        if (vision := self._format(VISION, self.request.vision)) is not None:
            recipe = vision
        language = self._format(LANGUAGE, self.request.language)
        if language is not None:
            recipe = replace(recipe, language=language.language)
        if recipe == Recipe():
            tried = ", ".join(f"{one.part} in {one.format} {one.times_faster:.2f}x" for one in self.tried)
            raise UserError(f"nothing that was tried is faster on this machine: {tried or 'nothing was asked for'}")
        return recipe

    def _format(self, part: str, wanted: Wanted) -> Recipe | None:
        if wanted == "none":
            return None
        if wanted != "auto":
            return self._single(part, wanted)
        trials = {form: self._single(part, form) for form in _TRIED[part]}
        faster = {form: self._times_faster(part, form, recipe) for form, recipe in trials.items()}
        best = max(faster, key=lambda form: faster[form])
        return trials[best] if faster[best] > 1 else None

    def _single(self, part: str, form: Format) -> Recipe:
        """One part alone."""
        if part == LANGUAGE:
            return Recipe(language=form)
        if form != "int8":
            raise UserError(f"the vision tower is quantized to int8, not {form}")
        windows, graph = self.calibration.frames, self._graph()
        self.report("measuring the ranges of activations")
        ranges = measure_ranges(graph, _halves(windows)[0], self.request.method)
        check_ranges(graph, _halves(windows)[1], ranges)
        if self.found is None:
            held_out = list(_halves(windows)[1])
            self.found = search_blocks(graph, held_out, ranges, self.request.bars.least_iou, self.report)
        return Recipe(vision=ranges, vision_blocks=self.found.quantized)

    def _times_faster(self, part: str, form: Format, recipe: Recipe) -> float:
        self.report(f"trying {part} in {form}")
        with self._scratch(recipe) as scratch:
            found = compare(self.bundle, scratch, _TRIAL_CLIPS, 2)
        name = self._default()
        ratio = _cost(found, "before", part, name) / _cost(found, "after", part, name)
        self.tried.append(Tried(part=part, format=form, times_faster=round(ratio, 3)))
        return ratio

    def _report(self, recipe: Recipe, quantized: Bundle) -> QuantizationReport:
        self.report(f"comparing both on {self.request.clips} clips")
        found = compare(self.bundle, quantized, self.request.clips, self.request.questions)
        variants, manifest, default = variant_records(found), self.bundle.manifest, self._default()
        return QuantizationReport(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            bundle=self.bundle.folder.resolve().name,
            checkpoint=manifest.checkpoint,
            random_weights=manifest.random_weights,
            formats=recipe.formats,
            ranges=self.request.method,
            windows=list(self.calibration.origins),
            frames_sha256=self.calibration.sha256,
            blocks=self._blocks(),
            tried=self.tried,
            clips=self.request.clips,
            questions=len(found.answers),
            variants=variants,
            size_mb=Pair(before=size_mb(self.bundle), after=size_mb(quantized)),
            resident_mb=Pair(
                before=resident_mb(self.bundle.folder, default), after=resident_mb(quantized.folder, default)
            ),
            bars=self.request.bars,
            failures=failures_of(variants, default, self.request.bars),
            machine=machine(),
            versions={name: version(name) for name in ("stts-export", "onnxruntime", "onnx", "numpy")},
        )

    def _blocks(self) -> list[BlockRecord]:
        if self.found is None:
            return []
        alone, found = self.found.alone, self.found
        never = [block for block in found.left if block not in alone]
        return [
            *(BlockRecord(block=block, kept_iou=None, token_error=None, quantized=False) for block in never),
            *(
                BlockRecord(
                    block=block,
                    kept_iou=round(one.kept_iou, 4),
                    token_error=round(one.token_error, 5),
                    quantized=block in found.quantized,
                )
                for block, one in alone.items()
            ),
        ]

    def _provenance(self) -> Quantization:
        content = (self.bundle.folder / MANIFEST).read_bytes()
        return Quantization(
            source_manifest_sha256=hashlib.sha256(content).hexdigest(),
            frames_sha256=self.calibration.sha256,
            left_wide=self.found.left if self.found else [],
            report=REPORT,
        )

    @contextmanager
    def _scratch(self, recipe: Recipe) -> Iterator[Bundle]:
        with tempfile.TemporaryDirectory(prefix="stts-calibrate-") as folder:
            yield write_quantized(self.bundle, Path(folder), recipe, only="cpu")

    def _graph(self) -> Path:
        bundle = self.bundle
        graph = bundle.manifest.variants[self.variant].graphs["cpu"]
        bundle.file(graph.weights)
        return bundle.file(graph.graph)

    def _default(self) -> str:
        return self.bundle.choose(None, None, None)


def _halves(windows: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Those that give ranges, and those that say whether these hold."""
    return windows[::2], windows[1::2]


def _cost(found: Comparison, which: Literal["before", "after"], part: str, variant: str) -> float:
    """Milliseconds of one part."""
    side = getattr(found, which)[variant]
    if part == VISION:
        return float(np.median(side.vision_ms))
    return float(np.median(side.prefill_ms)) + _TRIAL_TOKENS * float(np.median(side.decode_ms))
