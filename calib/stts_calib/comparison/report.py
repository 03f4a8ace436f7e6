"""What a quantization cost and won, and whether it is worth it; stored in the bundle."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from stts_calib.accuracy.intervals import Interval, accuracy_interval, difference_interval
from stts_calib.calibration.store import Origin
from stts_calib.comparison.compare import Comparison, Side
from stts_calib.quantize.search import Found
from stts_runtime.bench import Machine
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Format


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bars(_Part):
    """What a quantized bundle is held to."""

    least_iou: float = 0.98
    """Lowest intersection over union of the kept sets, for every pruned variant."""
    most_points: float = 1.0
    """Largest loss of accuracy in points, for every variant."""


class Pair(_Part):
    """Medians before and after, milliseconds."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.before / self.after


class VariantRecord(_Part):
    variant: str
    kept_iou: float
    same_answers_percent: float
    accuracy_before: Interval
    accuracy_after: Interval
    points: Interval
    """After less before, paired by question."""
    vision_ms: Pair
    prefill_ms: Pair
    decode_ms: Pair
    """Per token."""
    total_ms: Pair
    """From frames to the answer of the first question."""


class BlockRecord(_Part):
    """A block of the vision tower, quantized alone."""

    block: str
    kept_iou: float | None
    """None for blocks that are never quantized."""
    token_error: float | None
    quantized: bool


class Tried(_Part):
    """A format of one part, measured by itself on a few clips."""

    part: str
    format: str
    times_faster: float
    """The part alone: vision, or prefill and this many tokens."""


class QuantizationReport(_Part):
    schema_name: Literal["stts.quantization/1"] = "stts.quantization/1"
    created: str
    bundle: str
    """The one that it was made from."""
    checkpoint: str
    random_weights: bool
    formats: dict[str, Format | None]
    written: dict[str, dict[str, Format | None]]
    """By target and part: not every target can hold every format."""
    left_out: dict[str, str] = {}
    """Targets of the source that hold none of the formats, and why."""
    timed: bool
    """Whether the processor computes in these formats. If not, times are of rounding and of products in float32."""
    ranges: str
    """How they were taken."""
    scales: str
    """Scales of 4-bit weights: `rtn`, rounded to nearest, or `awq`, searched on the frames."""
    windows: list[Origin]
    frames_sha256: str
    blocks: list[BlockRecord]
    tried: list[Tried]
    clips: int
    questions: int
    variants: list[VariantRecord]
    size_mb: Pair
    """Weights and graphs."""
    resident_mb: Pair
    """Memory of a process with one variant and the language model that has answered a question."""
    bars: Bars
    failures: list[str]
    """Bars that are missed; with any, the bundle is written only on demand."""
    machine: Machine
    versions: dict[str, str]


def variant_records(found: Comparison) -> list[VariantRecord]:
    return [_variant(found, name) for name in found.before]


def _variant(found: Comparison, name: str) -> VariantRecord:
    before, after = found.before[name], found.after[name]
    clips = np.array(found.clips)
    hits_before, hits_after = before.hits(found.answers), after.hits(found.answers)
    return VariantRecord(
        variant=name,
        kept_iou=round(found.kept_iou(name), 4),
        same_answers_percent=round(found.same_answers(name), 2),
        accuracy_before=accuracy_interval(hits_before, clips),
        accuracy_after=accuracy_interval(hits_after, clips),
        points=difference_interval(hits_after - hits_before, clips),
        **{f"{stage}_ms": _pair(before, after, f"{stage}_ms") for stage in ("vision", "prefill", "decode", "total")},
    )


def _pair(before: Side, after: Side, stage: str) -> Pair:
    return Pair(
        **{
            name: round(float(np.median(getattr(side, stage))), 3)
            for name, side in (("before", before), ("after", after))
        }
    )


def block_records(found: Found) -> list[BlockRecord]:
    """Those that are never quantized first."""
    never = [block for block in found.left if block not in found.alone]
    return [
        *(BlockRecord(block=block, kept_iou=None, token_error=None, quantized=False) for block in never),
        *(
            BlockRecord(
                block=block,
                kept_iou=round(one.kept_iou, 4),
                token_error=round(one.token_error, 5),
                quantized=block in found.quantized,
            )
            for block, one in found.alone.items()
        ),
    ]


def failures_of(variants: list[VariantRecord], timed: str | None, bars: Bars) -> list[str]:
    """One line for each bar that is missed; of the variant `timed`, in speed too."""
    missed = []
    for one in variants:
        if one.kept_iou < bars.least_iou:
            missed.append(
                f"{one.variant} keeps other tokens: intersection over union {one.kept_iou:.3f}, at least "
                f"{bars.least_iou:g} is asked for"
            )
        if one.points.value < -bars.most_points:
            missed.append(
                f"{one.variant} loses {-one.points.value:.2f} points of accuracy, and {bars.most_points:g} may be lost"
            )
        if one.variant == timed and one.total_ms.ratio < 1:
            missed.append(
                f"{one.variant} became slower: {one.total_ms.before:.1f} ms before, {one.total_ms.after:.1f} after"
            )
    return missed


def size_mb(bundle: Bundle) -> float:
    """Size of the `cpu` graphs and their weights."""
    manifest = bundle.manifest
    graphs = [of_part["cpu"] for of_part in manifest.parts().values()]
    names = {name for graph in graphs for name in (graph.graph, graph.weights)}
    return round(sum(manifest.files[name].size_bytes for name in names) / 1e6, 2)
