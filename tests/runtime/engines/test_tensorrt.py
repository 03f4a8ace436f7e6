"""The TensorRT engines on a fake that computes: right numbers, tensors that stay on the device, errors in our words."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FlavourName
from stts_runtime.device import Device
from stts_runtime.engines import backends as backends_module
from stts_runtime.engines import choose_engine, load_language, load_vision
from stts_runtime.engines import tensorrt as engine_module
from stts_runtime.engines.cuda_memory import Cuda, Stream
from stts_runtime.errors import BundleError, EngineError, UserError
from stts_runtime.prompt import Tokens
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, window_of_file
from tests.runtime.engines.test_incremental import check_against_the_cpu
from tests.support import fake_tensorrt, fake_tensorrt_8
from tests.support.compiled import WORKSTATION, with_engines
from tests.support.fake_tensorrt import FakeCuda
from tests.support.places import DATA

FLAVOURS: list[FlavourName] = ["tensorrt", "tensorrt-rtx"]


def use_device(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    for module in (engine_module, backends_module):
        monkeypatch.setattr(module, "this_device", lambda: device)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(fake_tensorrt.Runtime, "cuda", fake, raising=False)
    monkeypatch.setattr(engine_module, "load_cuda", lambda: Cuda(fake))
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_device(monkeypatch, WORKSTATION)
    return fake


def frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 84, 84, 3), dtype=np.uint8)


def tokens(ids: list[int], start: int) -> Tokens:
    positions = np.arange(start, start + len(ids))
    return Tokens(np.array(ids), positions, start + len(ids))


@pytest.mark.onnxruntime
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("lowering", ["tensorrt", "tensorrt-10", "tensorrt-8"])
def test_vision_gives_what_its_graph_gives(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, flavour: FlavourName, lowering: str
) -> None:
    import onnxruntime

    bundle = with_engines(targets_bundle, tmp_path, flavour, lowering)
    vision = load_vision(bundle, "clip-t3-k0.5", flavour)
    graph = bundle.folder / f"vision.clip-t3-k0.5.{lowering}.onnx"
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    names = ["visual_tokens", "scores", "kept_groups"]
    # The second run captures, the third launches what was captured: new frames must go through all the same.
    for seed in range(4):
        wanted = dict(zip(names, session.run(names, {"frames": frames(seed)}), strict=True))
        output = vision.run(frames(seed))
        np.testing.assert_array_equal(np.flatnonzero(output.kept), wanted["kept_groups"])
        np.testing.assert_array_equal(output.scores, wanted["scores"])
        visual = cuda.array(output.visual_tokens.address, output.visual_tokens.shape, np.float16)
        np.testing.assert_array_equal(visual, wanted["visual_tokens"])
        np.testing.assert_array_equal(vision.downloaded(output), visual.astype(np.float32))
    assert cuda.launched == (3 if flavour == "tensorrt" else 0), "TensorRT-RTX captures by itself"
    assert vision.lowering == lowering


@pytest.mark.onnxruntime
@pytest.mark.parametrize("lowering", ["tensorrt", "tensorrt-10", "tensorrt-8"])
def test_the_language_model_answers_as_on_the_cpu(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, lowering: str
) -> None:
    """Prefill, question and single tokens, rewound and asked again: the cache holds what it should in both layouts."""
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt", lowering)
    vision, reference = load_vision(bundle, "full-t3", "tensorrt"), load_language(bundle)
    language = load_language(bundle, "tensorrt")
    output = vision.run(frames(0))
    visual = cuda.array(output.visual_tokens.address, output.visual_tokens.shape, np.float16)
    patch = bundle.manifest.prompt.image_patch_id
    for engine, shown in ((language, output.visual_tokens), (reference, visual.astype(np.float32))):
        engine.show(shown)
    calls = [[1, 2, *[patch] * 12, 3], [4, 5, 6], [7], [8], [9], [10]]
    for _ in range(2):
        for ids in calls:
            asked = tokens(ids, language.length)
            assert language.forward(asked) == reference.forward(asked)
            np.testing.assert_allclose(language.logits(), reference.logits(), rtol=0.05, atol=0.02)
            assert language.length == reference.length
        for engine in (language, reference):
            engine.rewind(15)
        calls = [[11, 12], [13], [14]]
    with pytest.raises(EngineError, match="do not fit a context"):
        language.forward(tokens([1] * bundle.manifest.language.context, 0))


@pytest.mark.onnxruntime
@pytest.mark.parametrize("lowering", ["tensorrt", "tensorrt-10"])
def test_engines_of_older_graphs_are_fed_what_they_take(tmp_path: Path, cuda: FakeCuda, lowering: str) -> None:
    """Those of schema 3 count by themselves, whatever the lowering."""
    bundle = with_engines(Bundle.open(DATA / "bundle-v3"), tmp_path, "tensorrt", lowering)
    language, reference = load_language(bundle, "tensorrt"), load_language(bundle)
    patch = bundle.manifest.prompt.image_patch_id
    shown = np.random.default_rng(0).standard_normal((4, bundle.manifest.language.visual_width), dtype=np.float32)
    for engine in (language, reference):
        engine.show(shown)
    for ids in ([1, 2, patch, patch, 3], [4, 5], [6], [7]):
        asked = tokens(ids, language.length)
        language.forward(asked)
        reference.forward(asked)
        np.testing.assert_allclose(language.logits(), reference.logits(), rtol=0.05, atol=0.02)


def test_an_engine_with_other_tensors_is_refused(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    """Inputs that only some graphs have may be missing; those that all have may not."""
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt", "tensorrt-8")
    model = bundle.manifest.language
    narrower = model.model_copy(update={"layers": model.layers - 1})
    broken = replace(bundle, manifest=bundle.manifest.model_copy(update={"language": narrower}))
    with pytest.raises(BundleError, match=r"is not the engine that the manifest describes: key\.1 differs"):
        load_language(broken, "tensorrt")


def test_engines_of_tensorrt_8_6_run_on_its_own_classes(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts without memory of their own, 32 bits where the graph has 64, no bfloat16: the same numbers."""
    answers = []
    for module, lowering in ((fake_tensorrt, "tensorrt-10"), (fake_tensorrt_8, "tensorrt-8")):
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        folder = tmp_path / lowering
        folder.mkdir()
        bundle = with_engines(targets_bundle, folder, "tensorrt", lowering, version=module.__version__)
        vision, language = (
            load_vision(bundle, "clip-t3-k0.5", "tensorrt"),
            load_language(bundle, "tensorrt"),
        )
        output = vision.run(frames(0))
        language.show(output.visual_tokens)
        patch = bundle.manifest.prompt.image_patch_id
        said = [language.forward(tokens(ids, language.length)) for ids in ([1, *[patch] * 6, 3], [4], [5], [6])]
        answers.append((output.kept.tolist(), vision.downloaded(output), said))
    assert answers[0][0] == answers[1][0]
    np.testing.assert_allclose(answers[0][1], answers[1][1], rtol=0.05, atol=0.02)
    assert answers[0][2] == answers[1][2]


def test_engines_stay_on_the_gpu_that_was_selected_when_they_were_loaded(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread has a current GPU, which others may have changed since."""
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    monkeypatch.setattr(engine_module, "load_cuda", lambda: Cuda(cuda, gpu=1))
    vision = load_vision(bundle, "full-t3", "tensorrt")
    cuda.current, seen = 0, []
    original = fake_tensorrt.IExecutionContext.execute_async_v3

    def execute(self: fake_tensorrt.IExecutionContext, stream_handle: int) -> bool:
        seen.append(cuda.current)
        return original(self, stream_handle)

    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "execute_async_v3", execute)
    vision.run(frames(0))
    assert seen == [1]


@pytest.mark.onnxruntime
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("lowering", ["tensorrt", "tensorrt-10", "tensorrt-8"])
def test_frames_of_a_stream_are_those_of_the_cpu(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, flavour: FlavourName, lowering: str
) -> None:
    check_against_the_cpu(with_engines(targets_bundle, tmp_path, flavour, lowering), flavour)


@pytest.mark.onnxruntime
def test_a_session_runs_on_compiled_engines(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, clip: Path) -> None:
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    assert choose_engine(bundle).name == "tensorrt"
    window = window_of_file(VideoFile(str(clip)), 3, 2.0, 84)
    answers = {}
    for engine in ("cpu", "tensorrt"):
        session = Session.open(bundle, "clip-t3-k0.5", engine=engine)
        watched = session.watch(window)
        answers[engine] = session.ask(watched, "What happens?", 8)
        session.watch(window)
        with pytest.raises(UserError, match="no longer in the cache"):
            session.ask(watched, "What happens?", 8)
    assert answers["tensorrt"].answer == answers["cpu"].answer
    assert answers["tensorrt"].kept_per_frame == answers["cpu"].kept_per_frame


def test_bfloat16_comes_back_from_the_device_as_float32(cuda: FakeCuda) -> None:
    torch = pytest.importorskip("torch")
    stream = Stream(Cuda(cuda))
    array = stream.zeros((4,), item_bytes=2, dtype=None)
    values = torch.tensor([1.0, -3.140625, 1e30, 0.0])
    cuda.array(array.address, (4,), np.uint16)[:] = values.bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(stream.download(array), values.bfloat16().float().numpy())


@pytest.mark.parametrize("kind", [None, np.dtype(np.float16)], ids=["bfloat16", "float16"])
def test_what_came_back_from_the_device_goes_there_again_as_it_was(cuda: FakeCuda, kind: np.dtype[Any] | None) -> None:
    """Visual tokens are kept in the host's memory as float32, and shown again later."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32) if kind is None else bits.view(kind).astype(np.float32)
    bits = bits[np.isfinite(values)]
    stream = Stream(Cuda(cuda))
    array = stream.zeros((len(bits),), 2, kind)
    on_device = cuda.array(array.address, (len(bits),), np.uint16)
    on_device[:] = bits
    kept = stream.download(array).astype(np.float32)
    on_device[:] = 0
    stream.put(array, kept)
    np.testing.assert_array_equal(on_device, bits)


def test_float32_goes_to_the_device_as_the_nearest_bfloat16(cuda: FakeCuda) -> None:
    stream = Stream(Cuda(cuda))
    array = stream.zeros((5,), item_bytes=2, dtype=None)
    # The last two lie halfway between neighbours of bfloat16: they go to the even one.
    stream.upload(array, np.array([1.0, -3.1415927, 1e30, 1.00390625, 1.01171875], dtype=np.float32))
    rounded = np.array([1.0, -3.140625, 1.0002555517425873e30, 1.0, 1.015625], dtype=np.float32)
    np.testing.assert_array_equal(stream.download(array), rounded)


def test_verify_looks_at_compiled_engines_where_they_run(
    targets_bundle: Bundle, micro_checkpoint: Path, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stts_export.verifying import VerifyRequest, verify_bundle

    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    request = VerifyRequest(bundle.folder, micro_checkpoint, variants=["clip-t3-k0.5"], max_tokens=3)
    report = verify_bundle(request)
    assert not report.missed
    assert {one.stage for one in report.findings if one.subject == "tensorrt engine"} == {
        "scores", "kept set", "visual tokens", "prefill logits", "text", "half precision",
    }  # fmt: skip
    use_device(monkeypatch, replace(WORKSTATION, gpu=None, no_gpu_because="there is none"))
    (found,) = (one for one in verify_bundle(request).findings if one.subject == "tensorrt engine")
    assert found.status == "not run"
    assert "GPU" in (found.detail or "")


def test_an_engine_that_cannot_be_captured_runs_all_the_same(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda
) -> None:
    cuda.captures = False
    vision = load_vision(with_engines(targets_bundle, tmp_path, "tensorrt"), "full-t3", "tensorrt")
    outputs = []
    for seed in (0, 0, 1):
        tokens = vision.run(frames(seed)).visual_tokens
        outputs.append(cuda.array(tokens.address, tokens.shape, np.float16).copy())
    assert cuda.launched == 0
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[1], outputs[2])


def test_device_memory_is_given_back(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    session = Session.open(bundle, "clip-t3-k0.5", engine="tensorrt")
    assert cuda.memory
    del session
    gc.collect()
    assert not cuda.memory


def test_full_device_memory_is_the_users_to_put_right(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    cuda.free_bytes = 100_000
    with pytest.raises(UserError, match=r"memory is full \(cuda:0\): 0\.0 of 1\.1 GB are free; .*nvidia-smi.*--device"):
        load_language(bundle, "tensorrt")


def test_device_memory_that_tensorrt_does_not_get_is_the_users_to_put_right(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: fake_tensorrt.ICudaEngine, strategy: object) -> None:
        self.runtime.logger.log(fake_tensorrt.ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (no further info)")

    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "create_execution_context", refuse)
    with pytest.raises(UserError, match=r"OutOfMemory .*; the GPU's memory is full \(cuda:0\)"):
        load_vision(with_engines(targets_bundle, tmp_path, "tensorrt"), "full-t3", "tensorrt")


def test_what_tensorrt_says_is_in_the_error(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    from stts_runtime.engines.cuda_memory import Stream
    from stts_runtime.engines.tensorrt_context import LoadedEngine
    from stts_runtime.tensorrt import load_flavour

    plan = tmp_path / "plan"
    plan.write_bytes(b"nonsense")
    with pytest.raises(EngineError, match=r"cannot load .*: the header does not match"):
        LoadedEngine(load_flavour("tensorrt"), plan, Stream(Cuda(cuda)))
    plan.write_bytes(fake_tensorrt.plan_of(targets_bundle.folder / "language.tensorrt.onnx"))
    context = LoadedEngine(load_flavour("tensorrt"), plan, Stream(Cuda(cuda))).context()
    with pytest.raises(EngineError, match="not everything is bound"):
        context.enqueue()


def test_frames_of_another_size_are_refused(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    vision = load_vision(with_engines(targets_bundle, tmp_path, "tensorrt"), "full-t3", "tensorrt")
    with pytest.raises(EngineError, match="the engine takes"):
        vision.run(np.zeros((2, 84, 84, 3), dtype=np.uint8))


def test_kernels_of_tensorrt_rtx_are_kept_between_runs(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    """Each engine's own, for prefills and single tokens alike; a cache that is refused is made anew."""
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt-rtx")
    caches: list[Path] = []
    for times in (1, 2):
        vision = load_vision(bundle, "full-t3", "tensorrt-rtx")
        language = load_language(bundle, "tensorrt-rtx")
        language.show(vision.run(frames(0)).visual_tokens)
        language.forward(tokens([1, 2, 3], 0))
        language.forward(tokens([4], 3))
        caches = sorted((tmp_path / "cache").rglob("kernels-*.bin"))
        contents = [cache.read_bytes().decode().split() for cache in caches]
        assert sorted(contents) == sorted([["frames"] * times, ["token_ids", "token_ids"] * times])
    caches[0].write_bytes(b"refused")
    caches[1].chmod(0)
    load_vision(bundle, "full-t3", "tensorrt-rtx").run(frames(0))


def test_a_home_that_cannot_be_written_stops_nothing(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt-rtx")
    assert load_vision(bundle, "full-t3", "tensorrt-rtx").run(frames(0)).kept.all()


def test_an_old_message_explains_no_later_failure(targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda) -> None:
    cuda.captures = False
    vision: Any = load_vision(with_engines(targets_bundle, tmp_path, "tensorrt"), "full-t3", "tensorrt")
    vision.run(frames(0))
    vision._loaded.log.errors.append("said while a capture failed")
    vision.run(frames(0))
    assert vision._loaded.log.explain("nothing") == "nothing"


def test_tensorrt_that_does_not_start_is_told_in_its_words(
    targets_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pybind11 raises TypeError where a constructor gives nothing, and the reason is in the log."""

    class Refuses:
        def __init__(self, logger: fake_tensorrt.ILogger) -> None:
            logger.log(fake_tensorrt.ILogger.Severity.ERROR, "CUDA is too old")
            raise TypeError("factory function returned nullptr")

    monkeypatch.setattr(fake_tensorrt, "Runtime", Refuses)
    with pytest.raises(EngineError, match="tensorrt does not start: CUDA is too old"):
        load_vision(with_engines(targets_bundle, tmp_path, "tensorrt"), "full-t3", "tensorrt")


def test_without_a_gpu_the_cpu_answers_and_says_so(
    targets_bundle: Bundle, micro_bundle: Bundle, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Device("linux-x86_64", None, None, None, "the driver finds no GPU")
    use_device(monkeypatch, nothing)
    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    choice = choose_engine(bundle)
    assert choice.name == "cpu"
    assert "engines of this bundle are not used: no NVIDIA GPU here (the driver finds no GPU)" in choice.notes[0]
    assert choose_engine(micro_bundle).notes == ()
    with pytest.raises(BundleError, match=r"needs an NVIDIA GPU.*the driver finds no GPU.*--engine cpu"):
        load_vision(bundle, "full-t3", "tensorrt")
