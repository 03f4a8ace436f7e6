"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

One call builds; the same model is there as torch modules too:

    from pathlib import Path
    from stts_export import BuildRequest, build_bundle, open_checkpoint

    checkpoint = Path("checkpoints/tiny")
    bundle = build_bundle(BuildRequest(checkpoint, Path("out/tiny"), frames=[8], keeps=[1.0, 0.5], budgets=["clip"]))
    modules = open_checkpoint(checkpoint).load()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stts_export.build import BuildRequest, build_bundle
    from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint

__all__ = ["BuildRequest", "Checkpoint", "Modules", "build_bundle", "open_checkpoint"]

_HOMES = {
    "BuildRequest": "stts_export.build",
    "Checkpoint": "stts_export.checkpoint",
    "Modules": "stts_export.checkpoint",
    "build_bundle": "stts_export.build",
    "open_checkpoint": "stts_export.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Imports torch only when something that needs it is asked for: the command line has to say if it is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
