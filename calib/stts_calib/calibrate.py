"""A bundle -> a smaller one that still chooses the same tokens: every step of `stts-export calibrate`, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from stts_calib.calibration import CalibrationFrames, gather, load_frames, save_frames
from stts_calib.calibration.check import check_frames
from stts_calib.calibration.gather import CANDIDATES_PER_WINDOW
from stts_calib.calibration.store import SUFFIX
from stts_calib.comparison import Bars, QuantizationReport, compare
from stts_calib.comparison.estimate import expected_comparison
from stts_calib.comparison.report import Pair, block_records, failures_of, size_mb, variant_records
from stts_calib.comparison.resident import resident_mb
from stts_calib.quantize.aware import check_modelopt
from stts_calib.quantize.ranges import Method
from stts_calib.quantize.recipe import Recipe
from stts_calib.quantize.write import forms_of, left_out_of, scratch_bundle, write_quantized
from stts_calib.trials import Scales, Trials, Wanted
from stts_runtime.bench import machine
from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.manifest import Quantization
from stts_runtime.bundle.publish import check_apart, check_free, published
from stts_runtime.errors import SttsError, UserError
from stts_runtime.tell import TellStep, tell_nobody

REPORT = "quantization.json"


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
    ranges: Method = "minmax"
    vision: Wanted = "auto"
    language: Wanted = "auto"
    scales: Scales = "rtn"
    clips: int = 250
    questions: int = 4
    bars: Bars = field(default_factory=Bars)
    save_frames: Path | None = None
    force: bool = False
    """Write what misses a bar too."""


def calibrate(request: CalibrationRequest, tell: TellStep = tell_nobody) -> QuantizationReport:
    """Writes `request.out`.

    Raises `UserError` for frames or a bundle that will not do, and `NotWorthItError`, with the report, if a bar is
    missed. Nothing is left behind in either case.
    """
    check_free(request.out)
    check_apart(request.out, request.bundle)
    if request.scales == "awq":
        if request.language not in ("int4", "auto"):
            raise UserError(f"--scales awq is for --language int4, and {request.language} was asked for")
        check_modelopt()
    bundle = Bundle.open(request.bundle)
    calibration = _frames(request, bundle, tell)
    check_frames(calibration, bundle)
    tell("timing two clips")
    tell(f"note: the comparison at the end: {expected_comparison(bundle, request.clips, request.questions)}")
    trials = Trials(bundle, calibration, request.ranges, request.bars.least_iou, request.scales, tell)
    recipe = trials.recipe(request.vision, request.language)
    with published(request.out) as folder:
        # The manifest names the report's hash, so the report is there first; what it says is measured on a copy.
        made = _report(request, bundle, calibration, trials, recipe, tell)
        if made.failures and not request.force:
            raise NotWorthItError(made)
        (folder / REPORT).write_text(made.model_dump_json(indent=1) + "\n")
        tell("writing the bundle")
        write_quantized(bundle, folder, recipe, _provenance(bundle, calibration, trials))
    return made


def _frames(request: CalibrationRequest, bundle: Bundle, tell: TellStep) -> CalibrationFrames:
    sources = request.frames_from
    if len(sources) == 1 and sources[0].endswith(SUFFIX):
        return load_frames(Path(sources[0]))
    step, most = "looking for frames that differ, windows", CANDIDATES_PER_WINDOW * request.count
    tell(step, 0, most)
    calibration = gather(bundle, sources, request.count, lambda done: tell(step, done, most))
    if request.save_frames is not None:
        save_frames(request.save_frames, calibration)
    return calibration


def _report(
    request: CalibrationRequest,
    bundle: Bundle,
    calibration: CalibrationFrames,
    trials: Trials,
    recipe: Recipe,
    tell: TellStep,
) -> QuantizationReport:
    written, manifest = forms_of(bundle, recipe), bundle.manifest
    default = bundle.choose(None, None, None)
    # A CPU makes FP8 wide again before it multiplies.
    timed = written.get("cpu") == recipe.formats and "fp8" not in recipe.formats.values()
    step = "comparing both on synthetic clips"
    tell(step, 0, request.clips)
    with scratch_bundle(bundle, recipe) as quantized:
        found = compare(
            bundle, quantized, request.clips, request.questions, lambda done: tell(step, done, request.clips)
        )
        size = Pair(before=size_mb(bundle), after=size_mb(quantized))
        resident = Pair(before=resident_mb(bundle.folder, default), after=resident_mb(quantized.folder, default))
    variants = variant_records(found)
    return QuantizationReport(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        bundle=bundle.folder.resolve().name,
        checkpoint=manifest.checkpoint,
        random_weights=manifest.random_weights,
        formats=recipe.formats,
        written=written,
        left_out=left_out_of(bundle, written),
        timed=timed,
        ranges=request.ranges,
        scales="awq" if recipe.prompts else "rtn",
        windows=list(calibration.origins),
        frames_sha256=calibration.sha256,
        blocks=block_records(trials.found) if trials.found else [],
        tried=trials.tried,
        clips=request.clips,
        questions=len(found.answers),
        variants=variants,
        size_mb=size,
        resident_mb=resident,
        bars=request.bars,
        failures=failures_of(variants, default if timed else None, request.bars),
        machine=machine(),
        versions={name: version(name) for name in ("stts-export", "onnxruntime", "onnx", "numpy")},
    )


def _provenance(bundle: Bundle, calibration: CalibrationFrames, trials: Trials) -> Quantization:
    return Quantization(
        source_manifest_sha256=hashlib.sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest(),
        frames_sha256=calibration.sha256,
        left_wide=trials.found.left if trials.found else [],
        report=REPORT,
    )
