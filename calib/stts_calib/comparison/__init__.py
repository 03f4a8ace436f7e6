"""Two bundles of one checkpoint side by side: what they keep, what they answer, and how long they take."""

from stts_calib.comparison.compare import Comparison, compare
from stts_calib.comparison.report import Bars, BlockRecord, QuantizationReport, Tried, VariantRecord

__all__ = ["Bars", "BlockRecord", "Comparison", "QuantizationReport", "Tried", "VariantRecord", "compare"]
