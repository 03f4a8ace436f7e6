"""Exports STTS video language models: a checkpoint becomes a bundle that `stts_runtime` runs.

`build_bundle` is the whole of it; `load_checkpoint` gives the modules alone.
"""

from stts_export.build import BuildRequest, build_bundle
from stts_export.checkpoint import Checkpoint, load_checkpoint

__all__ = ["BuildRequest", "Checkpoint", "build_bundle", "load_checkpoint"]
