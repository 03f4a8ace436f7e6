"""The cuda engine on a GPU, held against the modules by `verify`: kept set, features, logits, text.

Run with `pytest -m gpu`. Without a GPU these fail; a pass means that the engine ran.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stts_calib.clips import Clip, Split
from stts_calib.quantize.recipe import Recipe
from stts_calib.quantize.write import write_quantized
from stts_export.building import BuildRequest, build_bundle
from stts_export.options import Half
from stts_export.verifying import VerifyRequest, verify_bundle
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Format
from stts_runtime.engines import EngineName, load_language
from stts_runtime.prompt import Tokens
from stts_runtime.proof.finding import Finding
from stts_runtime.session import Session
from stts_tools.checkpoints.random import write_random_checkpoint
from stts_tools.checkpoints.sizes import SIZES, Size
from tests.support.places import TINY

pytestmark = pytest.mark.gpu

REAL_WIDTH = dataclasses.replace(SIZES["molmo2-4b"], vision_layers=8, text_layers=2, vocab=2048)


def _verified(checkpoint: Path, out: Path, frames: list[int], half: Half) -> dict[str, Finding]:
    """What `verify` finds of the cuda engine, by variant and stage."""
    build_bundle(BuildRequest(checkpoint, out, frames, [1.0, 0.5], ["clip"], targets=["cuda"], half=half))
    report = verify_bundle(VerifyRequest(out, checkpoint))
    found = {f"{one.variant} {one.stage}": one for one in report.findings if one.subject == "cuda engine"}
    print("\n".join(f"{what}: {one.status}: {one.measured}" for what, one in found.items()))
    return found


def _missed(found: dict[str, Finding]) -> list[str]:
    return [f"{what}: {one.measured}" for what, one in found.items() if one.status not in ("ok", "note")]


def test_the_shipped_checkpoint_keeps_every_bar(tmp_path: Path) -> None:
    found = _verified(TINY, tmp_path / "bundle", [8], "fp16")
    assert {"clip-t8-k0.5 kept set", "clip-t8-k0.5 visual tokens", "full-t8 prefill logits"} <= found.keys()
    assert not _missed(found)


def test_in_bf16_features_are_off_by_the_three_bits_that_it_has_less_than_fp16(tmp_path: Path) -> None:
    """The bar for features is nearer than bf16 comes with these weights, in torch too: it rounds 8 times as coarsely.

    Not held to what the modules in torch are off by in bf16: that differs by a sixth between two processors.
    """
    found = _verified(TINY, tmp_path / "bf16", [8], "bf16")
    finer = _verified(TINY, tmp_path / "fp16", [8], "fp16")
    for features in ("full-t8 visual tokens", "clip-t8-k0.5 visual tokens"):
        coarse, fine = found.pop(features).value, finer[features].value
        assert coarse is not None
        assert fine is not None
        assert coarse <= 1.25 * 8 * fine, features
    assert not _missed(found)


@pytest.mark.parametrize("size", [SIZES["micro"], SIZES["micro-o"], REAL_WIDTH], ids=["micro", "micro-o", "real-width"])
def test_random_checkpoints_keep_every_bar(tmp_path: Path, size: Size) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_random_checkpoint(checkpoint, size, seed=0)
    found = _verified(checkpoint, tmp_path / "bundle", [4], "fp16")
    assert {"clip-t4-k0.5 kept set", "clip-t4-k0.5 visual tokens", "full-t4 prefill logits"} <= found.keys()
    assert not _missed(found)


@pytest.mark.parametrize("form", ["int4", "int8", "fp8"])
def test_the_language_model_in_few_bits_is_no_worse_than_on_the_cpu(tmp_path: Path, form: Format) -> None:
    """Of the same blocks, which the CPU multiplies by rounded activations if they have 4 bits."""
    bundle = build_bundle(
        BuildRequest(TINY, tmp_path / "bundle", [8], [0.5], ["clip"], targets=["cpu", "cuda"], half="fp16")
    )
    (tmp_path / "few").mkdir()
    made = write_quantized(bundle, tmp_path / "few", Recipe(language=form))
    window = Clip.make(Split.test, 0).window(8, bundle.manifest.vision.image_size)
    whole, texts, errors = _logits(bundle, "cpu"), [], []
    for engine in ("cpu", "cuda"):
        session = Session.open(made, bundle.choose(None, None, None), None, engine)
        texts.append(session.ask(session.watch(window), "What moves?", 8).answer)
        errors.append(float(np.linalg.norm(_logits(made, engine) - whole) / np.linalg.norm(whole)))
    print(f"{form}: cpu {errors[0]:.1e}, cuda {errors[1]:.1e}, {texts}")
    assert texts[0] == texts[1]
    assert 0 < errors[1] <= 1.1 * errors[0]


def _logits(bundle: Bundle, engine: EngineName) -> NDArray[np.float32]:
    language = load_language(bundle, engine)
    language.prefill(Tokens(np.arange(70), np.arange(70), 70))
    language.forward(Tokens(np.array([3]), np.array([70]), 71))
    return language.logits().reshape(-1)
