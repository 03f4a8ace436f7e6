"""Why groups were kept: scores over a clip, what moves, and which keep would have kept a region."""

from stts_runtime.explaining.explanation import Explanation, explain
from stts_runtime.explaining.record import ExplanationRecord
from stts_runtime.explaining.region import Region, as_regions

__all__ = ["Explanation", "ExplanationRecord", "Region", "as_regions", "explain"]
