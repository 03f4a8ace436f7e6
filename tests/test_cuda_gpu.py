"""The cuda engine on a GPU, held against the modules by `verify`: kept set, features, logits, text.

Run with `pytest -m gpu`. Without a GPU these fail; a pass means that the engine ran.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stts_export.build import build_bundle
from stts_export.checkpoint.random import write_random_checkpoint
from stts_export.checkpoint.sizes import SIZES, Size
from stts_export.plan import BuildRequest
from stts_export.precision import Half
from stts_export.verify.run import VerifyRequest, verify_bundle

pytestmark = pytest.mark.gpu

TINY = Path(__file__).parents[1] / "checkpoints" / "tiny"
REAL_WIDTH = dataclasses.replace(SIZES["molmo2-4b"], vision_layers=8, text_layers=2, vocab=2048)


def _verified(checkpoint: Path, out: Path, frames: list[int], half: Half) -> dict[str, str]:
    """What `verify` finds of the cuda engine, by variant and stage."""
    build_bundle(BuildRequest(checkpoint, out, frames, [1.0, 0.5], ["clip"], targets=["cuda"], half=half))
    report = verify_bundle(VerifyRequest(out, checkpoint))
    found = {
        f"{one.variant} {one.stage}": f"{one.status}: {one.measured}"
        for one in report.findings
        if one.subject == "cuda engine"
    }
    print("\n".join(f"{what}: {how}" for what, how in found.items()))
    return found


def _missed(found: dict[str, str]) -> list[str]:
    return [f"{what}: {how}" for what, how in found.items() if not how.startswith(("ok", "note"))]


@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_the_shipped_checkpoint_keeps_every_bar(tmp_path: Path, half: Half) -> None:
    found = _verified(TINY, tmp_path / "bundle", [8], half)
    assert {"clip-t8-k0.5 kept set", "clip-t8-k0.5 visual tokens", "full-t8 prefill logits"} <= found.keys()
    assert not _missed(found)


@pytest.mark.parametrize("size", [SIZES["micro"], SIZES["micro-o"], REAL_WIDTH], ids=["micro", "micro-o", "real-width"])
def test_random_checkpoints_keep_every_bar(tmp_path: Path, size: Size) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_random_checkpoint(checkpoint, size, seed=0)
    found = _verified(checkpoint, tmp_path / "bundle", [4], "fp16")
    assert {"clip-t4-k0.5 kept set", "clip-t4-k0.5 visual tokens", "full-t4 prefill logits"} <= found.keys()
    assert not _missed(found)
