"""Which part of the model computes in which 16-bit format, and why."""

from stts_export.precision.half import PrecisionPlan, to_half
from stts_export.precision.scan import Peak, plan_precision, scan

__all__ = ["Peak", "PrecisionPlan", "plan_precision", "scan", "to_half"]
