"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

    import stts_export

    bundle = stts_export.build("checkpoints/tiny", "out/tiny", frames=[8, 16], keep=[1, 0.5])
    report = stts_export.verify("out/tiny", "checkpoints/tiny")
    modules = stts_export.open_checkpoint("checkpoints/tiny").load()  # the same model as torch modules

More in docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import stts_runtime  # noqa: F401  # turns telemetry off before anything imports ONNX Runtime
from stts_export.extras import check_export_extra, check_train_extra

if TYPE_CHECKING:
    from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
    from stts_export.errors import CheckpointError, ExportError
    from stts_export.front_door import build, verify
    from stts_export.verifying import VerifyReport

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ExportError",
    "Modules",
    "VerifyReport",
    "build",
    "open_checkpoint",
    "verify",
]

_HOMES = {
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "ExportError": "errors",
    "Modules": "checkpoint",
    "VerifyReport": "verifying",
    "build": "front_door",
    "open_checkpoint": "checkpoint",
    "verify": "front_door",
}
_CHECKS = {"checkpoint": check_train_extra, "verifying": check_export_extra}
"""Before an import that needs torch; the front door's functions do this when they are called."""


def __getattr__(name: str) -> Any:
    """Imports nothing before it is used. Raises `MissingExtraError` for a name that needs torch where there is none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    if home in _CHECKS:
        _CHECKS[home](f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{home}"), name)
