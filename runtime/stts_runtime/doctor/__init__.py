"""What this machine can run, what is missing, and the command that adds it. It changes nothing."""

from stts_runtime.doctor.examine import examine
from stts_runtime.doctor.report import Fact, Report, Target

__all__ = ["Fact", "Report", "Target", "examine"]
