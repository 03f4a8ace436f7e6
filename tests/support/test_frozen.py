"""Frozen bundles, which Python 3.10 tests with: they are bundles, and the engine classes run what they describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.engines import choose_engine, load_incremental
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, window_of_file
from tests.runtime.engines.test_tensorrt import cuda  # noqa: F401
from tests.support.compiled import with_engines
from tests.support.fake_tensorrt import FakeCuda
from tests.support.frozen import thaw

LOWERINGS = ["tensorrt", "tensorrt-10", "tensorrt-8"]


@pytest.fixture
def targets(tmp_path: Path) -> Bundle:
    return thaw("targets", tmp_path / "targets")


@pytest.mark.parametrize("name", ["micro", "targets"])
def test_a_frozen_bundle_is_whole(name: str, tmp_path: Path) -> None:
    bundle = thaw(name, tmp_path / name)
    bundle.verify_all()
    assert bundle.choose(0.5, "clip", 3) == "clip-t3-k0.5"


def test_an_answer_does_not_depend_on_how_the_cache_is_kept(
    targets: Bundle,
    tmp_path: Path,
    cuda: FakeCuda,  # noqa: F811
    clip: Path,
) -> None:
    """In place or to and fro between two: what the next token follows from is the same."""
    window = window_of_file(VideoFile(str(clip)), 3, 2.0, 84)
    texts, kept = [], []
    for lowering in LOWERINGS:
        bundle = with_engines(targets, tmp_path / lowering, "tensorrt", lowering)
        assert choose_engine(bundle).name == "tensorrt"
        session = Session.open(bundle, "clip-t3-k0.5", engine="tensorrt")
        watched = session.watch(window)
        answers = [session.ask(watched, question, 8) for question in ("What happens?", "Who?", "What happens?")]
        assert answers[0].answer == answers[2].answer != answers[1].answer
        texts.append(answers[0].answer)
        kept.append(answers[0].kept_per_frame)
    assert len(set(texts)) == 1
    assert len(texts[0]) == 8
    # The clip grows brighter with every frame, and the described graphs keep what is bright.
    assert kept == [[0, 2, 4]] * 3


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_frame_of_a_stream_is_compared_with_the_one_before(
    targets: Bundle,
    tmp_path: Path,
    cuda: FakeCuda,  # noqa: F811
    flavour: str,
) -> None:
    engine = load_incremental(with_engines(targets, tmp_path, flavour), 0.5, flavour)  # type: ignore[arg-type]
    frame = np.zeros((84, 84, 3), np.uint8)
    brighter = frame.copy()
    brighter[:42, :42] = 255
    first = engine.run(frame, None, key=True)
    second = engine.run(brighter, first.pooled, key=False)
    assert first.kept.all()
    assert second.kept.sum() == 2
    assert second.kept[0]
    np.testing.assert_allclose(second.change, [1, 0, 0, 0], atol=1e-3)
