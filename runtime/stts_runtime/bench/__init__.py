"""The benchmark: every variant of a bundle, side by side, in one run."""

from stts_runtime.bench.machine import Machine, machine
from stts_runtime.bench.plot import write_plot
from stts_runtime.bench.report import Report, Row
from stts_runtime.bench.run import Benchmark

__all__ = ["Benchmark", "Machine", "Report", "Row", "machine", "write_plot"]
