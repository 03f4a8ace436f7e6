"""The benchmark: every variant of a bundle, side by side, in one run."""

from stts_runtime.bench.measure import Samples, measure, synthetic_window
from stts_runtime.bench.plot import write_plot
from stts_runtime.bench.report import Machine, Report, Row, advice, default_within_ms, machine, rows_of

__all__ = [
    "Machine",
    "Report",
    "Row",
    "Samples",
    "advice",
    "default_within_ms",
    "machine",
    "measure",
    "rows_of",
    "synthetic_window",
    "write_plot",
]
