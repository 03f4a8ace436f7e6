"""Decode kernels in the cuda engine on a GPU: ONNX Runtime's answers to the letter, nothing grows, faults fall back.

Run with `pytest -m gpu`. Without a GPU these fail; a pass means that the kernels ran. Beside a checkout's packages it
takes `checkpoints/tiny`, and no xdist:

    python3 -m pytest -q -p no:cacheprovider -m gpu tests/runtime/engines/test_cuda_step_gpu.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stts_calib.quantize.recipe import Recipe
from stts_calib.quantize.write import write_quantized
from stts_export.building import BuildRequest, build_bundle
from stts_export.options import Half
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Format
from stts_runtime.engines import load_slots
from stts_tools.decode_bench.engine import (
    FAULTS,
    LONG_RUN,
    compare_answers,
    compare_logits,
    fault,
    loaded,
    long_run,
    questions,
)
from tests.support.decode_bundle import decode_bundle
from tests.support.places import TINY

pytestmark = pytest.mark.gpu

FORMATS = ("fp16", "bf16", "fp16 int4", "fp16 fp8", "bf16 fp8")
"""In bf16 there are no weights of 4 bits for `cuda`."""

IMAGE_SIZE = 252


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Of the shipped checkpoint, in every format that bundles have and the kernels know."""
    made: dict[str, Bundle] = {}
    halves: tuple[Half, ...] = ("fp16", "bf16")
    for half in halves:
        folder = tmp_path_factory.mktemp(half)
        request = BuildRequest(TINY, folder / "plain", [8], [0.5], ["clip"], targets=["cpu", "cuda"], half=half)
        made[half] = build_bundle(request)
    forms: tuple[tuple[Half, Format], ...] = (("fp16", "int4"), ("fp16", "fp8"), ("bf16", "fp8"))
    for half, form in forms:
        made[f"{half} {form}"] = write_quantized(made[half], tmp_path_factory.mktemp(form), Recipe(language=form))
    return made


@pytest.mark.parametrize("form", FORMATS)
def test_fifty_answers_are_those_of_onnxruntime(bundles: dict[str, Bundle], form: str) -> None:
    result: dict[str, Any] = compare_answers(bundles[form], questions(8, IMAGE_SIZE))
    assert result["differ"] == []
    assert result["different_answers"] > 1, "questions have answers of their own"


@pytest.mark.parametrize("form", FORMATS)
def test_logits_are_within_rounding_of_onnxruntimes(bundles: dict[str, Bundle], form: str) -> None:
    result = compare_logits(bundles[form])
    assert result["disagreement"] is None, result


@pytest.mark.parametrize("form", FORMATS)
def test_ten_thousand_tokens_take_no_more_memory_than_a_few(bundles: dict[str, Bundle], form: str) -> None:
    result = long_run(loaded(bundles[form], kernels=True))
    assert result["tokens"] == LONG_RUN
    assert result["same_text"]
    assert result["device_grown"] < 1 << 20
    assert result["host_grown"] < 1 << 26


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_falls_back_and_says_why(bundles: dict[str, Bundle], name: str) -> None:
    result = fault(bundles["fp16"], name, questions(8, IMAGE_SIZE, clips=1))
    assert not result["kernels"]
    assert result["note"].startswith("ONNX Runtime runs single tokens, and not the decode kernels: ")
    assert result["same_answers"]


def test_olmos_form_is_within_rounding_of_onnxruntime(tmp_path: Path) -> None:
    result = compare_logits(decode_bundle(tmp_path, olmo=True))
    assert result["disagreement"] is None, result
    assert result["from_exact"]["kernels"]["worst"] <= result["bar_from_exact"]


def test_answers_that_go_together_run_through_the_kernels(tmp_path: Path) -> None:
    """They are taken only if each is to the bit what it is alone."""
    slots = load_slots(decode_bundle(tmp_path), 4, "cuda")
    assert slots.engines[0].note is None
    assert slots.sizes == [1, 2, 3, 4]
