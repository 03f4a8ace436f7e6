"""The benchmark: every variant of a bundle, side by side, in one run."""

from stts_runtime.bench.machine import Machine, machine
from stts_runtime.bench.measured import measured, write_measured
from stts_runtime.bench.plot import write_plot
from stts_runtime.bench.report import Report, Row
from stts_runtime.bench.run import Benchmark

__all__ = ["Benchmark", "Machine", "Report", "Row", "machine", "measured", "write_measured", "write_plot"]
