"""Shared material: a micro checkpoint, its bundle, and a clip whose pixels say which frame they are of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from stts_export.build import build_bundle
from stts_export.checkpoint.random import write_random_checkpoint
from stts_export.checkpoint.sizes import SIZES
from stts_export.request import BuildRequest
from stts_runtime.bundle import Bundle
from tests.clips import write_clip


def pytest_configure() -> None:
    """Processes that test side by side have a core each; their threads would spin waiting for one another's."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint small enough for a test; do not change it, copy it."""
    path = tmp_path_factory.mktemp("checkpoints") / "micro"
    write_random_checkpoint(path, SIZES["micro"], seed=0)
    return path


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Molmo2, without a scorer."""
    path = tmp_path_factory.mktemp("checkpoints") / "plain"
    write_random_checkpoint(path, SIZES["micro"], seed=1, prune_fraction=None)
    return path


@pytest.fixture(scope="session")
def olmo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Molmo2 with OLMo's language model."""
    path = tmp_path_factory.mktemp("checkpoints") / "olmo"
    write_random_checkpoint(path, SIZES["micro-o"], seed=2, prune_fraction=None)
    return path


@pytest.fixture(scope="session")
def micro_bundle(micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """3 and 6 frames at keep 1 and 0.5, the shorter with both budgets; do not change it, copy it."""
    return _built_once(tmp_path_factory, "micro", micro_checkpoint, [3, 6], ["cpu"])


@pytest.fixture(scope="session")
def targets_bundle(micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """3 frames at keep 1 and 0.5, both budgets, for the CPU, for CUDA and for TensorRT both ways; do not change it."""
    return _built_once(tmp_path_factory, "targets", micro_checkpoint, [3], ["cpu", "cuda", "tensorrt"])


def _built_once(
    factory: pytest.TempPathFactory, name: str, checkpoint: Path, frames: list[int], targets: list[str]
) -> Bundle:
    """By the first of all processes that run tests which needs it."""
    base = factory.getbasetemp()
    # In a folder of their own: a bundle is called by its folder's name, in its build command and by `serve`.
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    shared.mkdir(exist_ok=True)
    out = shared / name
    with FileLock(out.with_suffix(".lock")):
        if out.exists():
            return Bundle.open(out)
        return build_bundle(BuildRequest(checkpoint, out, frames, [1.0, 0.5], ["clip", "frame"], targets=targets))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 10 frames a second, 96x64; frame n has the brightness `clips.level(n)`."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=20, fps=10)
