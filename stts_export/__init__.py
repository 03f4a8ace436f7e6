"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

`build_bundle` is the whole of it; `open_checkpoint(folder).load()` gives the modules alone.
"""

from stts_export.build import build_bundle
from stts_export.checkpoint import Checkpoint, Modules, open_checkpoint
from stts_export.plan import BuildRequest

__all__ = ["BuildRequest", "Checkpoint", "Modules", "build_bundle", "open_checkpoint"]
