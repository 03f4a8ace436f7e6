"""The errors of the export side; the tree continues from `stts_runtime.errors`.

SttsError
├── ExportError       export produced a graph that is not right: exit code 1
└── UserError
    └── CheckpointError  not a checkpoint, damaged, or of a kind that is not supported: exit code 2
"""

from __future__ import annotations

from stts_runtime.errors import SttsError, UserError


class ExportError(SttsError):
    """The exported graph failed a check; nothing was written."""


class CheckpointError(UserError):
    """A folder that is not a checkpoint, is damaged, or asks for something unsupported."""
