"""A random bundle whose decoder the decode kernels run: heads of 64, which the micro checkpoint lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stts_runtime.bundle import Bundle

if TYPE_CHECKING:
    from stts_export.options import Half


def decode_bundle(folder: Path, olmo: bool = False, half: Half = "fp16") -> Bundle:
    """Built into `folder`, for `cpu` and `cuda`, 4 answers at once: four query heads on two of keys."""
    from stts_export.building import BuildRequest, build_bundle
    from stts_tools.checkpoints.random import write_random_checkpoint
    from stts_tools.checkpoints.sizes import SIZES

    of_form = SIZES["micro-o" if olmo else "micro"]
    size = replace(of_form, text_width=128, text_kv_heads=2, text_head_dim=64, text_mlp=192)
    write_random_checkpoint(folder / "checkpoint", size, seed=0)
    source, out, targets = folder / "checkpoint", folder / "bundle", ["cpu", "cuda"]
    request = BuildRequest(source, out, [3], [0.5], ["clip", "frame"], targets=targets, batch=4, half=half)
    return build_bundle(request)
