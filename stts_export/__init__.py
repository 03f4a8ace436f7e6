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

import stts_runtime  # noqa: F401  # turns telemetry off before anything imports ONNX Runtime
from stts_export.extras import check_export_extra, check_train_extra

if TYPE_CHECKING:
    from stts_export.build import BuildRequest, build_bundle
    from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
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

_BUILD = "stts_export.build", check_export_extra
_CHECKPOINT = "stts_export.checkpoint", check_train_extra
_VERIFY_REQUEST = "stts_export.verify.request", check_export_extra
_VERIFY = "stts_export.verify.run", check_export_extra
_HOMES = {
    "BuildRequest": _BUILD,
    "Checkpoint": _CHECKPOINT,
    "Modules": _CHECKPOINT,
    "VerifyRequest": _VERIFY_REQUEST,
    "build_bundle": _BUILD,
    "open_checkpoint": _CHECKPOINT,
    "verify_bundle": _VERIFY,
}


def __getattr__(name: str) -> Any:
    """Imports torch only for a name that needs it. Raises `MissingExtraError` where it is not installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, check = _HOMES[name]
    check(f"{__name__}.{name}")
    return getattr(import_module(home), name)
