"""The cuda engine on fakes that compute (support/fake_onnxruntime.py): bindings, padding, caches, captures, weights."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.engines import cuda_session, load_language, load_vision
from stts_runtime.engines.cuda_memory import CapturedWork, Cuda, RepeatedWork, Stream
from stts_runtime.engines.cuda_weights import DeviceWeights
from stts_runtime.errors import BundleError, EngineError, MissingExtraError, UserError
from stts_runtime.prompt import Tokens
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, window_of_file
from tests.runtime.engines.test_incremental import check_against_the_cpu
from tests.support.fake_onnxruntime import FakeOnnxRuntime, fake_gpu
from tests.support.fake_tensorrt import FakeCuda


@pytest.fixture
def bundle(targets_bundle: Bundle) -> Bundle:
    return targets_bundle


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOnnxRuntime]:
    with fake_gpu(monkeypatch) as module:
        yield module


@pytest.mark.parametrize("variant", ["full-t3", "clip-t3-k0.5"])
def test_vision_gives_what_the_cpu_gives(bundle: Bundle, fake: FakeOnnxRuntime, variant: str) -> None:
    size = bundle.manifest.vision.image_size
    engine, wanted = load_vision(bundle, variant, "cuda"), load_vision(bundle, variant)
    for seed in range(4):
        frames = np.random.default_rng(seed).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
        got, expected = engine.run(frames), wanted.run(frames)
        np.testing.assert_array_equal(got.kept, expected.kept)
        tokens = engine.downloaded(got)
        error = np.linalg.norm(tokens - expected.visual_tokens) / np.linalg.norm(expected.visual_tokens)
        assert error < 5e-3
    assert (len(fake.runs), fake.cuda.launched) == (3, 2), "two runs settle, the third is captured and launched"


def test_a_session_answers_as_on_the_cpu(bundle: Bundle, fake: FakeOnnxRuntime, clip: Path) -> None:
    window = window_of_file(VideoFile(str(clip)), 3, bundle.manifest.max_fps, bundle.manifest.vision.image_size)
    texts = []
    for engine in ("cuda", "cpu"):
        session = Session.open(bundle, "clip-t3-k0.5", engine=engine)
        watched = session.watch(window)
        texts.append([session.ask(watched, question, 6).answer for question in ("Who?", "What moves there?")])
    assert texts[0] == texts[1]
    prefills = [length for name, length in fake.runs if "prefill" in name]
    assert prefills == [64], "padded to a multiple, so that kernels are planned once"


def test_frames_of_a_stream_are_those_of_the_cpu(bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    check_against_the_cpu(bundle, "cuda")


def test_visual_tokens_from_the_host_are_shown_as_those_on_the_device(bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    size, language = bundle.manifest.vision.image_size, load_language(bundle, "cuda")
    vision = load_vision(bundle, "full-t3", "cuda")
    output = vision.run(np.full((3, size, size, 3), 99, dtype=np.uint8))
    patch, logits = bundle.manifest.prompt.image_patch_id, []
    for shown in (output.visual_tokens, vision.downloaded(output).astype(np.float16)):
        language.rewind(0)
        language.show(shown)
        language.prefill(Tokens(np.array([1, *[patch] * 12, 3]), np.arange(14), 14))
        language.forward(Tokens(np.array([4]), np.array([14]), 15))
        logits.append(language.logits())
    first, second = logits
    np.testing.assert_array_equal(first, second)


def test_variants_and_language_graphs_share_their_weights(bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    weights = {name: (bundle.folder / f"{name}.16bit.safetensors").stat().st_size for name in ("vision", "language")}
    engines: list[object] = [load_vision(bundle, variant, "cuda") for variant in ("full-t3", "clip-t3-k0.5")]
    taken = (1 << 30) - fake.cuda.free_bytes
    assert weights["vision"] - 20_000 < taken < 2 * weights["vision"]
    engines.append(load_language(bundle, "cuda"))
    largest = max(len(memory.raw) for memory in fake.cuda.memory.values())
    assert largest <= max(weights.values()), "in one block each"
    del engines
    gc.collect()
    assert not fake.cuda.memory, "and freed with the last engine"


def test_a_machine_without_a_gpu_says_so_in_one_line(bundle: Bundle) -> None:
    cuda_session.stream_on.cache_clear()
    with pytest.raises(UserError, match=r"needs an NVIDIA GPU, and there is none here .*--engine cpu"):
        load_vision(bundle, "full-t3", "cuda")


def test_a_bundle_without_cuda_graphs_names_the_command(micro_bundle: Bundle, fake: FakeOnnxRuntime) -> None:
    with pytest.raises(BundleError, match=r"no graphs for the cuda engine .*--target cuda --force"):
        load_language(micro_bundle, "cuda")


def test_an_onnxruntime_without_cuda_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"no CUDA provider.*stts-export\[cuda\]"):
        cuda_session.cuda_runtime()


def test_joined_names_are_rows_of_both(bundle: Bundle) -> None:
    stream = Stream(Cuda(FakeCuda()))
    weights = DeviceWeights(bundle.folder / "language.16bit.safetensors", stream)
    names = [f"language_model.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    joined = stream.download(weights["+".join(names)])
    np.testing.assert_array_equal(joined, np.concatenate([stream.download(weights[name]) for name in names]))
    with pytest.raises(KeyError):
        weights["+".join(reversed(names))]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{]"])
def test_a_damaged_weight_file_is_said_to_be_damaged(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(damage or b"\0")
    with pytest.raises(BundleError, match="damaged"):
        DeviceWeights(path, Stream(Cuda(FakeCuda())))


def test_work_that_calls_the_host_is_not_repeated() -> None:
    """ONNX Runtime frees memory in such calls; a second time would free it again."""
    cuda, runs = FakeCuda(), []

    def call() -> None:
        runs.append(1)

    call.calls_the_host = True  # type: ignore[attr-defined]
    stream = Stream(Cuda(cuda))
    work = RepeatedWork(stream, lambda: cuda.do(call))
    for _ in range(4):
        work()
    assert (len(runs), cuda.launched) == (4, 0)
    with pytest.raises(EngineError, match="cannot be repeated"):
        CapturedWork(stream, lambda: cuda.do(call))
