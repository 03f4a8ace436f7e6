"""An explanation as a line of JSON."""

from __future__ import annotations

from typing import Literal

from stts_runtime.record_parts import RecordPart
from stts_runtime.records import ScorerRecord, WindowRecord


class MotionRecord(RecordPart):
    """What moves, by the pixels: see `explaining.motion`. The first frame has none before it and counts for neither."""

    least_change: float
    """A group moves if its pixels changed by more than that on average, in levels of 255."""
    moving_groups: int
    still_groups: int


class VariantRecord(RecordPart):
    """What one of the bundle's variants with as many frames keeps."""

    variant: str
    keep: float
    budget: str
    visual_tokens: int
    moving_kept: float | None
    """Share of the groups that move, frames 2 to T; below, of all others. None where there are none."""
    still_kept: float | None
    regions_kept: list[float]
    """For each region, the share of its groups."""


class RegionRecord(RecordPart):
    """Which keep would have kept a region."""

    region: str
    """As it was given."""
    times_seconds: list[float]
    """Times of the frames that the record covers."""
    groups: int
    """That hold any part of it, over these frames."""
    kept: int
    """Groups kept by the variant that ran."""
    smallest_variant: str | None
    """With the fewest tokens, of those that keep all of its groups; None if none does."""
    smallest_keep: float
    """The smallest keep over the clip that would have, by the scores."""
    smallest_variant_part: str | None
    """The same for at least one group of it in each frame."""
    smallest_keep_part: float


class ExplanationRecord(RecordPart):
    """Scores of a clip and what follows from them. Arrays are (T, G), groups row by row of the frame."""

    schema_name: Literal["stts.explanation/1"] = "stts.explanation/1"
    source: str
    window: WindowRecord
    variant: str
    keep: float
    budget: str
    scorer: ScorerRecord | None
    visual_in: int
    visual_kept: int
    groups_per_side: int
    motion: MotionRecord
    variants: list[VariantRecord]
    """Variants with the same number of frames, fewest tokens first."""
    regions: list[RegionRecord]
    scores: list[list[float]]
    """High is important. Those of the first frame decide nothing: it is kept whole."""
    kept: list[list[int]]
    """1 where a group was kept."""
    change: list[list[float]]
    """Mean difference of the pixels to the frame before, in levels of 255."""
    notes: list[str]
