"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

`build_bundle(BuildRequest(...))` is the whole of it; `open_checkpoint(folder).load()` gives the modules alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stts_export.build import build_bundle
    from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
    from stts_export.plan import BuildRequest

__all__ = ["BuildRequest", "Checkpoint", "Modules", "build_bundle", "open_checkpoint"]

_HOMES = {
    "BuildRequest": "stts_export.plan",
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
