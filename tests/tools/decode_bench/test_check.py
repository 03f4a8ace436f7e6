"""The kernels' arithmetic, their sources compiled for the CPU, against numpy. The same check runs on a GPU."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from stts_runtime.cuda_decode.driver import Driver
from stts_runtime.cuda_decode.shape import DecoderShape
from stts_runtime.cuda_decode.variants import (
    ACTIVATIONS,
    KINDS,
    PRODUCTS,
    Activation,
    WeightKind,
    fingerprint,
    packaged_modules,
)
from stts_tools.decode_bench import gpu as gpu_module
from stts_tools.decode_bench.candidates import ATTENTIONS, CANDIDATES, sweep_modules
from stts_tools.decode_bench.check import check, check_batch
from stts_tools.decode_bench.gpu import Gpu
from stts_tools.decode_bench.plan import Kernels, Plan
from tests.support.cuda_on_cpu.host_driver import HostDriver
from tests.support.cuda_on_cpu.host_library import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no g++, which compiles the kernels for the CPU")

ODD = DecoderShape(width=96, layers=1, heads=4, kv_heads=2, head_dim=64, mlp_width=160)
"""No columns are whole steps of any format, and no rows are whole blocks."""
WIDE_HEADS = DecoderShape(width=160, layers=1, heads=8, kv_heads=1, head_dim=128, mlp_width=288)

WHOLE_CHUNKS = DecoderShape(width=512, layers=1, heads=4, kv_heads=2, head_dim=128, mlp_width=1024)
"""A row's scales are whole chunks of 16 bytes in every format."""

LONG_ROWS = replace(WIDE_HEADS, mlp_width=2720)
"""More steps of columns than any candidate has under way."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    host = HostDriver([*packaged_modules(), *sweep_modules()])
    monkeypatch.setattr(gpu_module, "load_driver", lambda: Driver(host))
    return Gpu()


@pytest.fixture
def sweep(gpu: Gpu, tmp_path: Path) -> Kernels:
    """What `scripts/compile_kernels.py --sweep` writes, as far as the host's driver looks at it."""
    for module in sweep_modules():
        (tmp_path / module.path(90).name).write_bytes(gzip.compress(f"// {fingerprint(module)}\n".encode()))
    return Kernels(gpu, tmp_path)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_what_numpy_says(gpu: Gpu, sweep: Kernels, kind: WeightKind, activation: Activation) -> None:
    plan = Plan.packaged(kind, dependent=False)
    result = check(gpu, sweep, ODD, plan, activation, [5, 0, 70], layers=1)
    assert result["within_bar"], result
    assert result["same_bits_twice"]
    assert result["same_bits_dependent"]


def test_eight_heads_share_a_key(gpu: Gpu) -> None:
    plan = Plan.packaged("dense", dependent=False)
    result = check(gpu, Kernels(gpu, None), WIDE_HEADS, plan, "half", [300], layers=1)
    assert result["within_bar"], result


@pytest.mark.parametrize("splits", [1, 3, 40])
def test_any_number_of_stretches_gives_the_same_attention(gpu: Gpu, splits: int) -> None:
    """Of 40, most are empty."""
    plan = replace(Plan.packaged("dense", dependent=False), splits=splits)
    result = check(gpu, Kernels(gpu, None), ODD, plan, "half", [131, 16], layers=1)
    assert result["within_bar"], result


def test_a_batch_of_eight(gpu: Gpu) -> None:
    plan = Plan.packaged("int4", dependent=False)
    result = check(gpu, Kernels(gpu, None), ODD, plan, "half", [0, 1, 2, 15, 16, 17, 47, 48], layers=1)
    assert result["within_bar"], result


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_that_share_a_step_get_what_each_gets_alone(gpu: Gpu, kind: WeightKind) -> None:
    result = check_batch(gpu, kind, replace(ODD, layers=2), [5, 0, 40], vocabulary=300)
    assert result["same_bits_alone"], result
    assert result["same_tokens"]
    assert result["highest"]
    assert result["different_tokens"] > 1


@pytest.mark.parametrize(
    ("kind", "candidate"),
    [
        ("dense", "8.1.6s"),
        ("dense", "10.3.4s"),
        ("float8", "8.1.4s"),
        ("float8", "8.3.3s"),
        ("int4", "8.1.3s"),
        ("int4", "10.3.2s"),
        ("int4", "8.5.1s"),
        ("int4", "16.1.5s/32"),
    ],
)
def test_weights_under_way_in_shared_memory(gpu: Gpu, sweep: Kernels, kind: WeightKind, candidate: str) -> None:
    plan = Plan.packaged(kind, dependent=False)
    plan = replace(plan, products=dict.fromkeys(PRODUCTS, CANDIDATES[kind].index(candidate)))
    result = check(gpu, sweep, LONG_ROWS, plan, "half", [30, 7], layers=1)
    assert result["within_bar"], result


@pytest.mark.parametrize(("kind", "candidate"), [("float8", "8.3.3s"), ("float8", "8.1.2"), ("int4", "10.3.2s")])
def test_scales_that_are_copied_by_chunks(gpu: Gpu, sweep: Kernels, kind: WeightKind, candidate: str) -> None:
    plan = Plan.packaged(kind, dependent=False)
    plan = replace(plan, products=dict.fromkeys(PRODUCTS, CANDIDATES[kind].index(candidate)))
    result = check(gpu, sweep, WHOLE_CHUNKS, plan, "half", [20], layers=1)
    assert result["within_bar"], result


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_form_of_attention(gpu: Gpu, sweep: Kernels, attention: tuple[int, bool]) -> None:
    """Slots in the first group of a warp, in a later one, and alone in a stretch."""
    plan = replace(Plan.packaged("dense", dependent=False), attention=attention, splits=3)
    result = check(gpu, sweep, WIDE_HEADS, plan, "half", [300, 11, 96], layers=1)
    assert result["within_bar"], result
