"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

One call builds and one compares; the same model is there as torch modules too:

    from pathlib import Path
    from stts_export import BuildRequest, VerifyRequest, build_bundle, open_checkpoint, verify_bundle

    checkpoint, out = Path("checkpoints/tiny"), Path("out/tiny")
    bundle = build_bundle(BuildRequest(checkpoint, out, frames=[8], keeps=[1.0, 0.5], budgets=["clip"]))
    report = verify_bundle(VerifyRequest(out, checkpoint))
    modules = open_checkpoint(checkpoint).load()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stts_export.build import build_bundle
    from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
    from stts_export.request import BuildRequest
    from stts_export.verify.request import VerifyRequest
    from stts_export.verify.run import verify_bundle

__all__ = [
    "BuildRequest",
    "Checkpoint",
    "Modules",
    "VerifyRequest",
    "build_bundle",
    "open_checkpoint",
    "verify_bundle",
]

_HOMES = {
    "BuildRequest": "stts_export.request",
    "Checkpoint": "stts_export.checkpoint",
    "Modules": "stts_export.checkpoint",
    "VerifyRequest": "stts_export.verify.request",
    "build_bundle": "stts_export.build",
    "open_checkpoint": "stts_export.checkpoint",
    "verify_bundle": "stts_export.verify.run",
}


def __getattr__(name: str) -> Any:
    """Imports torch only when something that needs it is asked for: the command line has to say if it is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
