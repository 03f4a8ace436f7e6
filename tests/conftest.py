"""Shared material: a micro checkpoint, its bundle, and a clip whose pixels say which frame they are of."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.budget import Scope
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import ScorerName
from tests.support.clips import write_clip
from tests.support.frozen import thaw
from tests.support.installed import HAS_ONNXRUNTIME, HAS_TORCH


def pytest_configure() -> None:
    """What programs inherit from the tests that start them.

    Processes that test side by side have a core each; their threads would spin waiting for one another's. Torch reads
    this too, since nothing has imported it yet. A shell without job control has what it runs in the background ignore
    Ctrl-C, and so would every program that a test interrupts.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["OMP_NUM_THREADS"] = "1"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("onnxruntime") and not HAS_ONNXRUNTIME:
        pytest.skip("runs the graphs of a bundle, which takes ONNX Runtime")


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint small enough for a test; do not change it, copy it."""
    return _checkpoint(tmp_path_factory, "micro", "micro", seed=0)


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Molmo2, without a scorer."""
    return _checkpoint(tmp_path_factory, "plain", "micro", seed=1, prune_fraction=None)


@pytest.fixture(scope="session")
def olmo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Molmo2 with OLMo's language model."""
    return _checkpoint(tmp_path_factory, "olmo", "micro-o", seed=2, prune_fraction=None)


@pytest.fixture(scope="session")
def micro_bundle(request: pytest.FixtureRequest) -> Bundle:
    """3 and 6 frames at keep 1 and 0.5, the shorter with both budgets, 4 streams at once; do not change it, copy it."""
    return _built_once(request, "micro", [3, 6], ["cpu"], batch=4)


@pytest.fixture(scope="session")
def targets_bundle(request: pytest.FixtureRequest) -> Bundle:
    """3 frames at keep 1 and 0.5, both budgets, for the CPU, for CUDA and for TensorRT both ways; 2 streams at
    once where engines can. Do not change it.
    """
    return _built_once(request, "targets", [3], ["cpu", "cuda", "tensorrt"], batch=2)


@pytest.fixture(scope="session")
def change_bundle(request: pytest.FixtureRequest) -> Bundle:
    """Of a plain Molmo2, scored without training: 3 frames at keep 1 and 0.5, both budgets; do not change it."""
    return _built_once(request, "change", [3], ["cpu"], checkpoint="plain_checkpoint", scorer="change")


def _checkpoint(factory: pytest.TempPathFactory, name: str, size: str, **options: Any) -> Path:
    if not HAS_TORCH:
        pytest.skip("makes a checkpoint, which takes torch")
    from stts_tools.checkpoints.random import write_random_checkpoint
    from stts_tools.checkpoints.sizes import SIZES

    path = factory.mktemp("checkpoints") / name
    write_random_checkpoint(path, SIZES[size], **options)
    return path


def _built_once(
    request: pytest.FixtureRequest,
    name: str,
    frames: list[int],
    targets: list[str],
    checkpoint: str = "micro_checkpoint",
    scorer: ScorerName | None = None,
    batch: int = 1,
) -> Bundle:
    """By the first of all processes that run tests which needs it; thawed where nothing can be built."""
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    if not HAS_TORCH:
        return thaw(name, factory.mktemp("frozen") / name)
    from filelock import FileLock

    from stts_export.building import BuildRequest, build_bundle

    base = factory.getbasetemp()
    source = request.getfixturevalue(checkpoint)
    # In a folder of their own: a bundle is called by its folder's name, in its build command and by `serve`.
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    shared.mkdir(exist_ok=True)
    out = shared / name
    with FileLock(out.with_suffix(".lock")):
        if out.exists():
            return Bundle.open(out)
        budgets: list[Scope] = ["clip", "frame"]
        wanted = BuildRequest(source, out, frames, [1.0, 0.5], budgets, targets=targets, scorer=scorer, batch=batch)
        return build_bundle(wanted)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 10 frames a second, 96x64; frame n has the brightness `clips.level(n)`."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=20, fps=10)
