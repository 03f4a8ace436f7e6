"""The checks of the cuda engine with the decode kernels, made for a GPU: here on the fakes, over a random bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.cuda_decode.driver import Driver
from stts_runtime.cuda_decode.variants import packaged_modules
from stts_runtime.engines import cuda_kernels
from stts_runtime.errors import EngineError
from stts_tools.decode_bench import engine as checks
from tests.support.cuda_on_cpu.host_driver import HostDriver
from tests.support.cuda_on_cpu.host_library import compiler
from tests.support.decode_bundle import decode_bundle
from tests.support.fake_onnxruntime import FakeOnnxRuntime, fake_gpu

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no g++, which compiles the kernels for the CPU")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return decode_bundle(tmp_path_factory.mktemp("decode"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOnnxRuntime]:
    with fake_gpu(monkeypatch) as module:
        yield module


@pytest.fixture
def host(fake: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch) -> HostDriver:
    driver = HostDriver(packaged_modules(), do=fake.cuda.do)
    monkeypatch.setattr(cuda_kernels, "load_driver", lambda: Driver(driver))
    monkeypatch.setattr(checks, "load_driver", lambda: Driver(driver))
    monkeypatch.setattr(checks, "MOST_TOKENS", 2)
    return driver


def asked(bundle: Bundle, clips: int) -> list[checks.Asked]:
    """A question about each."""
    return checks.questions(3, bundle.manifest.vision.image_size, clips, each=1)


def test_questions_survive_their_file(bundle: Bundle, tmp_path: Path) -> None:
    written = asked(bundle, 2)
    checks.write_questions(tmp_path / "clips.npz", written)
    for one, other in zip(written, checks.read_questions(tmp_path / "clips.npz"), strict=True):
        assert one.questions == other.questions
        assert np.array_equal(one.window.frames, other.window.frames)
        assert np.array_equal(one.window.times_seconds, other.window.times_seconds)


def test_answers_of_both_ways_are_compared(bundle: Bundle, host: HostDriver) -> None:
    result = checks.compare_answers(bundle, asked(bundle, 2))
    assert (result["prompts"], result["differ"], result["same_when_made_to_go_on"]) == (2, [], 2)
    assert host.launches


def test_logits_of_both_ways_are_compared(bundle: Bundle, host: HostDriver) -> None:
    result = checks.compare_logits(bundle, tokens=2)
    assert result["disagreement"] is None
    assert 0 < result["worst"] < result["bar"] == 1e-2
    apart = result["from_exact"]
    assert 0 < apart["kernels"]["worst"] < 5e-3 < result["bar_from_exact"]
    assert 0 < apart["ONNX Runtime"]["worst"] < 5e-3


def test_a_long_run_starts_over_where_the_context_ends(bundle: Bundle, host: HostDriver) -> None:
    language = checks.loaded(bundle, kernels=True)
    language.context = 18
    result = checks.long_run(language, 5)
    assert (result["tokens"], result["laps"], result["same_text"]) == (5, 3, True)


@pytest.mark.parametrize("name", ["text that is no PTX", "a GPU that is too old", "no driver"])
def test_a_fault_falls_back_and_says_why(bundle: Bundle, host: HostDriver, name: str) -> None:
    result = checks.fault(bundle, name, asked(bundle, 1))
    assert not result["kernels"]
    assert result["note"].startswith("ONNX Runtime runs single tokens, and not the decode kernels: ")
    assert result["same_answers"]
    assert not host.launches


def test_kernels_that_are_refused_are_an_error_where_they_are_checked(bundle: Bundle, host: HostDriver) -> None:
    host.capability = 75
    with pytest.raises(EngineError, match=r"compute capability 7\.5"):
        checks.loaded(bundle, kernels=True)
