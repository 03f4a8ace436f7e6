"""Single tokens through our own kernels in the cuda engine: the fakes' memory, the kernels on the CPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stts_calib.quantize.recipe import Recipe
from stts_calib.quantize.write import write_quantized
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA
from stts_runtime.bundle.manifest import Format
from stts_runtime.bundle.onnx_file import OnnxFile, read_onnx
from stts_runtime.cuda_decode import KERNELS, ONNX_RUNTIME, VARIABLE, shape
from stts_runtime.cuda_decode.driver import Driver, UnfitDeviceError
from stts_runtime.cuda_decode.shape import DecoderShape
from stts_runtime.cuda_decode.variants import packaged_modules
from stts_runtime.device import Device
from stts_runtime.doctor.decode import kernels_fact, single_tokens_fact
from stts_runtime.engines import cuda_kernels, load_language, load_slots
from stts_runtime.engines.agreement import Trial, disagreement
from stts_runtime.engines.cuda_kernels import CudaKernels, StepChoice
from stts_runtime.engines.cuda_language import CudaLanguage
from stts_runtime.engines.cuda_memory import Cuda, Stream
from stts_runtime.engines.cuda_slots import GraphRows, KernelRows
from stts_runtime.engines.cuda_step import CudaStep, StepOutputs
from stts_runtime.engines.cuda_weights import DeviceWeights, Weights
from stts_runtime.engines.decoder_fit import Misfit, fitted_decoder
from stts_runtime.engines.interfaces import LanguageEngine
from stts_runtime.errors import UserError
from stts_runtime.prompt import Tokens
from stts_runtime.proof.check import open_proof
from stts_runtime.references.bars import ROUNDING, relative_error
from stts_runtime.references.layout import EXAMPLE
from stts_runtime.references.reference import PROOF
from stts_tools.decode_bench.exact import ExactDecoder
from tests.support.cuda_on_cpu.host_driver import HostDriver
from tests.support.cuda_on_cpu.host_library import compiler
from tests.support.decode_bundle import decode_bundle
from tests.support.fake_onnxruntime import HOPPER, FakeOnnxRuntime, fake_gpu
from tests.support.fake_tensorrt import FakeCuda
from tests.support.installed import HAS_TORCH

pytestmark = [
    pytest.mark.onnxruntime,
    pytest.mark.skipif(not HAS_TORCH, reason="builds a bundle, which takes torch"),
    pytest.mark.skipif(compiler() is None, reason="there is no g++, which compiles the kernels for the CPU"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return decode_bundle(tmp_path_factory.mktemp("decode"))


@pytest.fixture(scope="module")
def olmo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return decode_bundle(tmp_path_factory.mktemp("olmo"), olmo=True)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOnnxRuntime]:
    monkeypatch.delenv(VARIABLE, raising=False)
    with fake_gpu(monkeypatch) as module:
        yield module


@pytest.fixture
def host(fake: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch) -> HostDriver:
    driver = HostDriver(packaged_modules(), do=fake.cuda.do)
    monkeypatch.setattr(cuda_kernels, "load_driver", lambda: Driver(driver))
    return driver


def text_behind(engine: LanguageEngine, tokens: int) -> tuple[list[int], np.ndarray]:
    """The greedy text behind a few tokens, at positions with a gap, and the last logits."""
    ids = np.array([1, 2, 3, 4, 5, 6, 7, 9, 11])
    engine.rewind(0)
    text = [engine.forward(Tokens(ids, np.arange(len(ids)), len(ids)))]
    for place in range(len(ids), len(ids) + tokens):
        text.append(engine.forward(Tokens(np.array(text[-1:]), np.array([place + 3]), place + 4)))
    return text, engine.logits()


def test_text_and_logits_are_those_of_the_cpu(bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver) -> None:
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.kernels is not None, engine.step_choice.because
    runs, launched = len(fake.runs), fake.cuda.launched
    (text, logits), (expected, wanted) = (text_behind(one, 6) for one in (engine, load_language(bundle)))
    assert text == expected
    assert np.linalg.norm(logits - wanted) < 5e-3 * np.linalg.norm(wanted)
    assert len(fake.runs) == runs + 1, "ONNX Runtime ran the tokens that came together, and no other"
    assert fake.cuda.launched == launched + 6, "every step is one launch of what was captured at the first"


@pytest.mark.parametrize(("form", "times_as_far"), [("int4", 2), ("fp8", 1)])
def test_quantized_weights_are_read_as_calibration_writes_them(
    bundle: Bundle, tmp_path: Path, fake: FakeOnnxRuntime, host: HostDriver, form: Format, times_as_far: int
) -> None:
    quantized = write_quantized(bundle, tmp_path, Recipe(language=form))
    engine = load_language(quantized, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.kernels is not None, engine.step_choice.because
    text = [1, 5, 3]
    for place, token in enumerate(text):
        engine.forward(Tokens(np.array([token]), np.array([place]), place + 1))
    # Whatever ONNX Runtime's own kernels round: these are held to what the bundle's numbers are exactly.
    exact = ExactDecoder(quantized).logits(text)[-1]
    assert relative_error(engine.logits(), exact) < 2e-3
    assert engine.step_choice.kernels.apart == times_as_far * ROUNDING["fp16"].logits, (
        "ONNX Runtime is no nearer to them than that"
    )


def test_olmos_form_is_what_its_numbers_are_exactly(
    olmo_bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver
) -> None:
    """Norms behind products, queries and keys normed whole, a layer whose positions are scaled; two answers."""
    slots = load_slots(olmo_bundle, 2, "cuda")
    assert slots.engines[0].step_choice.kernels is not None, slots.engines[0].step_choice.because
    assert [name for name, _ in host.launches[1:8]] == [
        *("qkv", "attention", "output", "add_normed", "gated", "down", "add_normed")
    ]
    texts, runs = {0: [1, 5, 3], 1: [7, 2, 9]}, len(fake.runs)
    for place in range(3):
        slots.forward({slot: Tokens(np.array([ids[place]]), np.array([place]), 4) for slot, ids in texts.items()})
    assert len(fake.runs) == runs
    for slot, ids in texts.items():
        exact = ExactDecoder(olmo_bundle).logits(ids)[-1]
        assert relative_error(slots.engines[slot].logits(), exact) < 2e-3


@pytest.mark.parametrize("form", ["int4", "fp8"])
def test_olmos_form_in_fewer_bits(
    olmo_bundle: Bundle, tmp_path: Path, fake: FakeOnnxRuntime, host: HostDriver, form: Format
) -> None:
    quantized = write_quantized(olmo_bundle, tmp_path, Recipe(language=form))
    engine = load_language(quantized, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.kernels is not None, engine.step_choice.because
    engine.forward(Tokens(np.array([1]), np.array([0]), 1))
    engine.forward(Tokens(np.array([5]), np.array([1]), 2))
    assert relative_error(engine.logits(), ExactDecoder(quantized).logits([1, 5])[-1]) < 2e-3


def test_float8_beside_bfloat16(tmp_path: Path, fake: FakeOnnxRuntime, host: HostDriver) -> None:
    """ONNX Runtime's CPU provider has no bfloat16, so the kernels run without it."""
    (tmp_path / "fp8").mkdir()
    quantized = write_quantized(decode_bundle(tmp_path, half="bf16"), tmp_path / "fp8", Recipe(language="fp8"))
    graph, weights = _graph_and_weights(quantized)
    fitted, stream = fitted_decoder(graph, weights), Stream(Cuda(fake.cuda))
    assert (fitted.kind, fitted.activation) == ("float8", "bfloat")
    shape, half = fitted.shape, np.dtype(np.float16)
    caches = {
        f"{what}.{number}": stream.zeros((1, shape.kv_heads, 8, shape.head_dim), 2, half)
        for what in ("key", "value")
        for number in range(shape.layers)
    }
    outputs = StepOutputs(
        stream.zeros((1, fitted.head.shape[0]), 4, np.dtype(np.float32)), stream.zeros((1,), 8, np.dtype(np.int64))
    )
    step = CudaStep(CudaKernels(fitted, stream, Driver(host)), [caches], outputs)
    for place, token in enumerate(text := [1, 5, 3]):
        step([token], [place], [place])
    exact = ExactDecoder(quantized).logits(text)[-1]
    assert relative_error(stream.download(outputs.logits)[0], exact) < 1.6e-2


def test_all_but_the_first_launch_may_start_before_their_turn(bundle: Bundle, host: HostDriver) -> None:
    load_language(bundle, "cuda")
    layer = ["qkv", "attention", "output", "gated", "down"]
    step = [("embed", False), *((name, True) for name in (*layer * 2, "qkv", "choose"))]
    assert host.launches == 2 * step, "once as they are, and once to be captured"


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ({"capability": 75}, "compute capability 7.5, and 8.0 is the least", False),
        ({"shared_bytes": 4096}, "bytes of shared memory a block, and the GPU has 4096", False),
        ({"modules": []}, "cuModuleLoadData failed with 209", True),
    ],
)
def test_a_device_or_driver_that_does_not_fit_leaves_it_to_onnxruntime(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver, change: dict[str, object], reason: str, told: bool
) -> None:
    """And says so where something is wrong, in place of only being an older GPU."""
    vars(host).update(change)
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.kernels is None
    assert reason in engine.step_choice.because
    assert (engine.note is not None) == told
    assert text_behind(engine, 2)[0] == text_behind(load_language(bundle), 2)[0]
    assert not host.launches


def test_kernels_whose_logits_differ_are_not_used(
    bundle: Bundle, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROUNDING, "fp16", replace(ROUNDING["fp16"], logits=1e-9))
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.kernels is None
    assert re.fullmatch(
        r"ONNX Runtime runs single tokens, and not the decode kernels: its logits are \d\.\de-0\d from ONNX Runtime's "
        r"behind token 1, and 1e-09 is allowed",
        str(engine.note),
    )
    assert engine.length == 0
    assert text_behind(engine, 2)[0] == text_behind(load_language(bundle), 2)[0]


def test_both_ways_answer_the_proof_of_the_bundle(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []
    monkeypatch.setattr(CudaLanguage, "show", lambda _, visual: shown.append(visual))
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.note is None
    case = open_proof(bundle).language(EXAMPLE)
    assert np.array_equal(shown[0], case.visual)
    # The first of each way are run as they are, to be captured.
    assert len(case.answer_ids) < fake.cuda.launched < 2 * len(case.answer_ids)
    assert engine.length == 0


def test_a_bundle_without_a_proof_is_tried_with_made_up_tokens(bundle: Bundle) -> None:
    files = {name: one for name, one in bundle.manifest.files.items() if name != PROOF}
    bare = Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": files}))
    trial = Trial.of(bare)
    assert trial.window is None
    assert trial.asked.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert trial.answer.ids.tolist() == [8]


def test_another_choice_is_forgiven_only_where_the_two_best_are_near() -> None:
    def swapped(apart: float) -> str | None:
        wanted = np.ones(10_000, np.float32)
        wanted[:2] = 2 + apart, 2
        got = wanted.copy()
        got[:2] = wanted[[1, 0]]
        return disagreement([wanted, wanted], [wanted, got], 0.01)

    assert swapped(0.03) is None
    assert swapped(0.3) == "it chooses token 1 and ONNX Runtime 0 behind token 2, which is 3.0e-01 ahead"
    assert "are nan from" in str(disagreement([np.ones(3, np.float32)], [np.full(3, np.nan, np.float32)], 0.01))


def test_a_driver_that_is_not_there_is_a_reason_and_no_error(
    bundle: Bundle, fake: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bindings(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("libcuda.so.1 is not found")

    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", Bindings("cuda.bindings.driver"))
    monkeypatch.setattr("cuda.bindings.driver", sys.modules["cuda.bindings.driver"], raising=False)
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    reason = "CUDA's driver cannot be called (libcuda.so.1 is not found)"
    assert engine.step_choice == StepChoice(None, reason, worth_telling=True)


def test_a_word_in_the_environment_turns_them_off(
    bundle: Bundle, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, ONNX_RUNTIME)
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert engine.step_choice.because == "STTS_CUDA_DECODE=onnxruntime is set"
    assert engine.note is None
    assert not host.launches


def test_a_word_that_says_neither_is_the_users_mistake(
    bundle: Bundle, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(UserError, match="STTS_CUDA_DECODE is 'off', and there is kernels and onnxruntime"):
        load_language(bundle, "cuda")


def test_who_asks_for_them_by_name_is_told_why_an_old_gpu_does_without(
    bundle: Bundle, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KERNELS)
    host.capability = 75
    engine = load_language(bundle, "cuda")
    assert isinstance(engine, CudaLanguage)
    assert "compute capability 7.5" in str(engine.note)


def test_sequences_that_share_a_step_go_on_as_each_does_alone(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver
) -> None:
    graph, weights = _graph_and_weights(bundle)
    fitted, stream = fitted_decoder(graph, weights), Stream(Cuda(fake.cuda))
    kernels, shape, half = CudaKernels(fitted, stream, Driver(host)), fitted.shape, np.dtype(np.float16)

    def run(sequences: list[int]) -> tuple[np.ndarray, np.ndarray]:
        outputs = StepOutputs(
            stream.zeros((len(sequences), fitted.head.shape[0]), 4, np.dtype(np.float32)),
            stream.zeros((len(sequences),), 8, np.dtype(np.int64)),
        )
        places = [f"{what}.{number}" for what in ("key", "value") for number in range(shape.layers)]
        caches = [
            {name: stream.zeros((1, shape.kv_heads, 8, shape.head_dim), 2, half) for name in places} for _ in sequences
        ]
        step = CudaStep(kernels, caches, outputs)
        for turn in range(2):
            lengths = [turn] * len(sequences)
            step([one + turn for one in sequences], [one + turn for one in sequences], lengths)
        return stream.download(outputs.logits), stream.download(outputs.next_token)

    logits, tokens = run([3, 7])
    for row, sequence in enumerate([3, 7]):
        alone, token = run([sequence])
        assert np.array_equal(logits[row], alone[0])
        assert tokens[row] == token[0] == np.argmax(alone)


@pytest.fixture
def loads(host: HostDriver, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the driver was given to load."""
    given: list[bytes] = []
    load = host.cuModuleLoadData

    def remember(image: bytes) -> tuple[int, Any]:
        given.append(image)
        return load(image)

    monkeypatch.setattr(host, "cuModuleLoadData", remember)
    return given


def test_slots_share_one_loaded_and_compared_step(
    bundle: Bundle, fake: FakeOnnxRuntime, loads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[np.ndarray] = []
    monkeypatch.setattr(CudaLanguage, "show", lambda _, visual: tried.append(visual))
    slots = load_slots(bundle, 2, "cuda")
    assert len(slots.engines) == 2
    assert len({id(engine.step_choice.kernels) for engine in slots.engines}) == 1
    assert len(tried) == 1
    assert len(loads) == len(set(loads)) == 3, "products, attention and ends"


def test_answers_that_go_together_are_to_the_bit_what_each_is_alone(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver
) -> None:
    slots, alone = load_slots(bundle, 4, "cuda"), load_language(bundle, "cuda")
    assert slots.sizes == [1, 2, 3, 4]
    prompts = {slot: np.arange(1 + slot, 9 + 2 * slot) for slot in range(3)}
    chosen = {slot: slots.engines[slot].forward(Tokens(ids, ids, 20)) for slot, ids in prompts.items()}
    runs, text = len(fake.runs), {slot: [token] for slot, token in chosen.items()}
    for turn in range(4):
        # The first ends sooner, and leaves its slot to nobody.
        going = [slot for slot in prompts if slot or turn < 2]
        chosen = slots.forward({slot: Tokens(np.array([text[slot][-1]]), np.array([30 + turn]), 60) for slot in going})
        for slot, token in chosen.items():
            text[slot].append(token)
    assert len(fake.runs) == runs, "the kernels ran all of it"
    for slot, ids in prompts.items():
        alone.rewind(0)
        expected = [alone.forward(Tokens(ids, ids, 20))]
        for turn in range(len(text[slot]) - 1):
            expected.append(alone.forward(Tokens(np.array(expected[-1:]), np.array([30 + turn]), 60)))
        assert text[slot] == expected
        if slot:
            # The first one's row has run since, for nobody.
            assert np.array_equal(slots.engines[slot].logits(), alone.logits())


def test_kernels_that_give_several_otherwise_than_each_alone_are_not_used(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = KernelRows.logits
    monkeypatch.setattr(KernelRows, "logits", lambda rows, row: logits(rows, row) + (row == 1))
    slots = load_slots(bundle, 2, "cuda")
    assert slots.sizes == [1, 2], "by the bundle's graph"
    reason = "tokens of several answers come out otherwise than each alone"
    assert all(str(engine.note).endswith(reason) for engine in slots.engines)
    alone, launched = load_language(bundle), len(host.launches)
    tokens = {slot: Tokens(np.array([slot + 1]), np.array([0]), 1) for slot in range(2)}
    chosen = slots.forward(tokens)
    assert len(host.launches) == launched
    for slot, one in tokens.items():
        assert chosen[slot] == alone.forward(one)
        alone.rewind(0)


def test_a_gpu_with_room_for_fewer_sequences_runs_the_others_graph(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CudaKernels, "most_sequences", 2)
    slots = load_slots(bundle, 4, "cuda")
    assert slots.sizes == [1, 2, 4]
    assert [type(step) for step in slots._steps] == [KernelRows, GraphRows]


def test_more_sequences_than_a_gpu_has_shared_memory_for_are_refused(
    bundle: Bundle, fake: FakeOnnxRuntime, host: HostDriver
) -> None:
    graph, weights = _graph_and_weights(bundle)
    fitted, stream = fitted_decoder(graph, weights), Stream(Cuda(fake.cuda))
    host.shared_bytes = 72_000
    kernels = CudaKernels(fitted, stream, Driver(host))
    outputs = StepOutputs(*(stream.zeros((8,), 8, np.dtype(np.int64)) for _ in range(2)))
    with pytest.raises(UnfitDeviceError, match=r"8 sequences are to share a step, and on this GPU at most \d can"):
        CudaStep(kernels, [{}] * 8, outputs)


@pytest.mark.parametrize(
    ("asked_for", "device", "says"),
    [
        ("", HOPPER, "the decode kernels of compute_90, unless they and ONNX Runtime answer"),
        (ONNX_RUNTIME, HOPPER, "ONNX Runtime: STTS_CUDA_DECODE=onnxruntime is set"),
        ("", replace(HOPPER, gpu=None), "ONNX Runtime: there is no GPU to run them"),
    ],
)
def test_doctor_names_the_way_of_single_tokens(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, asked_for: str, device: Device, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, asked_for)
    fact = single_tokens_fact(bundle, device)
    assert fact is not None
    assert str(fact.value).startswith(says)
    reason = says.removeprefix("ONNX Runtime: ")
    assert kernels_fact(device).because == (reason if reason != says else None)


def test_doctor_says_what_does_not_fit(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "HEAD_WIDTHS", (96, 128))
    fact = single_tokens_fact(bundle, HOPPER)
    assert fact is not None
    assert fact.value == "ONNX Runtime: heads are 64 wide, and the kernels know 96 and 128"


def _graph_and_weights(bundle: Bundle) -> tuple[OnnxFile, DeviceWeights]:
    graph = bundle.manifest.language.graphs[CUDA]
    return read_onnx(bundle.file(graph.graph)), DeviceWeights(bundle.file(graph.weights), Stream(Cuda(FakeCuda())))


def test_a_decoder_is_read_from_its_graph(bundle: Bundle) -> None:
    fitted = fitted_decoder(*_graph_and_weights(bundle))
    assert (fitted.kind, fitted.activation) == ("dense", "half")
    assert fitted.shape == DecoderShape(128, 2, 4, 2, 64, 192, eps=fitted.shape.eps)
    assert fitted.shape.eps == pytest.approx(1e-6)
    assert fitted.layers[0].qkv[0].shape == (512, 128)


def test_heads_that_the_kernels_do_not_know_are_no_fit(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "HEAD_WIDTHS", (96, 128))
    with pytest.raises(Misfit, match="heads are 64 wide, and the kernels know 96 and 128"):
        fitted_decoder(*_graph_and_weights(bundle))


def test_another_operator_is_no_fit(bundle: Bundle) -> None:
    graph, weights = _graph_and_weights(bundle)
    with pytest.raises(Misfit, match="operators that the kernels do not know: Tanh"):
        fitted_decoder(replace(graph, nodes=(*graph.nodes, replace(graph.nodes[0], type="Tanh"))), weights)


def test_another_epsilon_is_no_fit(bundle: Bundle) -> None:
    graph, weights = _graph_and_weights(bundle)
    nodes = [replace(node, attributes={**node.attributes, "epsilon": 1e-3}) for node in graph.nodes[-4:]]
    with pytest.raises(Misfit, match="its norms have epsilons"):
        fitted_decoder(replace(graph, nodes=(*graph.nodes[:-4], *nodes)), weights)


@pytest.mark.parametrize(
    ("node", "change", "reason"),
    [
        ("RotaryEmbedding", {"attributes": {"interleaved": 1}}, "not turned half by half"),
        ("Add", {"type": "Sub"}, "neither ahead of attention and MLP nor behind them"),
    ],
)
def test_another_form_than_olmos_is_no_fit(olmo_bundle: Bundle, node: str, change: dict[str, Any], reason: str) -> None:
    graph, weights = _graph_and_weights(olmo_bundle)
    place = next(number for number, one in enumerate(graph.nodes) if one.type == node)
    nodes = (*graph.nodes[:place], replace(graph.nodes[place], **change), *graph.nodes[place + 1 :])
    with pytest.raises(Misfit, match=reason):
        fitted_decoder(replace(graph, nodes=nodes), weights)


def test_a_missing_weight_is_no_fit(bundle: Bundle) -> None:
    graph, weights = _graph_and_weights(bundle)
    left = {name: weights[name] for name in weights if "layers.1.mlp.up_proj" not in name}
    with pytest.raises(Misfit, match="up_proj"):
        fitted_decoder(graph, Weights(left))


_DOWN = "language_model.layers.1.mlp.down_proj.weight.fp8"


@pytest.mark.parametrize(
    ("block", "weight", "change", "reason"),
    [
        (64, None, {}, "of a format that the kernels do not know"),
        (128, f"{_DOWN}.scales", {"shape": (128, 1)}, r"down has scales of \(128, 1\) for 128 x 192"),
        (128, f"{_DOWN}.scales", {"dtype": np.dtype(np.int32)}, "scales are of a type that the kernels do not know"),
        (128, _DOWN, {"shape": (128, 96)}, r"down is \(128, 96\), and 128 x 192 are expected"),
        (128, "language_model.norm.weight", {"item_bytes": 1, "dtype": None}, "not all of one 16-bit type"),
    ],
)
def test_float8_that_is_not_as_calibration_writes_it_is_no_fit(
    bundle: Bundle, tmp_path: Path, block: int, weight: str | None, change: dict[str, Any], reason: str
) -> None:
    graph, weights = _graph_and_weights(write_quantized(bundle, tmp_path, Recipe(language="fp8")))
    nodes = [
        replace(node, attributes={**node.attributes, "block_size": block}) if "block_size" in node.attributes else node
        for node in graph.nodes
    ]
    arrays = {name: weights[name] for name in weights}
    if weight is not None:
        arrays[weight] = replace(arrays[weight].view(), **change)
    with pytest.raises(Misfit, match=reason):
        fitted_decoder(replace(graph, nodes=tuple(nodes)), Weights(arrays))


def test_weights_in_eight_bits_are_no_fit(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(Misfit, match="of a format that the kernels do not know"):
        fitted_decoder(*_graph_and_weights(write_quantized(bundle, tmp_path, Recipe(language="int8"))))
