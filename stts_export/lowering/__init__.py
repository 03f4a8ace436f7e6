"""Targets that a checkpoint can be exported for. Adding one means adding a table here, not a branch in the model."""

from stts_export.lowering.cpu import CPU
from stts_export.lowering.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (CPU,)}

__all__ = ["TARGETS", "Target"]
