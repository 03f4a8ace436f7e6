"""Compiling with TensorRT 8.6, on a fake that has its classes: what the builder is told, what is kept of the build."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Graph
from stts_runtime.compile import run as run_module
from stts_runtime.compile import worker
from stts_runtime.compile.choose import parts_of
from stts_runtime.compile.inspect import count_types
from stts_runtime.compile.request import Done, PartRequest
from stts_runtime.compile.run import CompileRequest, compile_bundle
from stts_runtime.errors import BundleError
from stts_runtime.passports import Inspected, Lengths
from stts_runtime.tensorrt import Flavour
from tests.runtime.compile.test_run import Heard
from tests.runtime.engines.test_tensorrt import cuda  # noqa: F401 (a fixture)
from tests.support import fake_tensorrt_8
from tests.support.compiled import WORKSTATION
from tests.support.fake_tensorrt import FakeCuda
from tests.support.fake_tensorrt_8 import Builder, BuilderFlag, ProfilingVerbosity, TacticSource

OLD = Flavour("tensorrt", fake_tensorrt_8)
LENGTHS = Lengths(shortest=1, usual=256, longest=576)


@pytest.fixture(autouse=True)
def tensorrt_8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt_8)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Builder, "built", [])


def compile_here(request: PartRequest, *_: Any) -> Done:
    """What the child would do."""
    return worker._compile(request, lambda _: None, 0.0)


def request_for(graph: Path, folder: Path) -> PartRequest:
    return PartRequest(
        flavour="tensorrt",
        graph=str(graph),
        plan=str(folder / f"{graph.stem}.plan"),
        architectures=None,
        precision="fp16",
        lengths=LENGTHS if graph.name.startswith("language") else None,
        timing_cache=str(folder / "timing.bin"),
    )


def test_a_weakly_typed_network_is_told_its_precision(targets_bundle: Bundle, tmp_path: Path) -> None:
    done = compile_here(request_for(targets_bundle.folder / "language.tensorrt-8.onnx", tmp_path))
    (config,) = Builder.built
    assert config.enabled == {BuilderFlag.FP16}, "and products in float32 are not rounded to TF32"
    assert config.sources == 1 << TacticSource.EDGE_MASK_CONVOLUTIONS, "libraries that may be stubs are not timed"
    assert config.profiling_verbosity is ProfilingVerbosity.DETAILED
    assert config.profiles[0].shapes["token_ids"] == ((1,), (256,), (576,))
    assert done.builder_flags == "fp16, weakly typed"
    assert done.inspected == Inspected(layers=2, outputs={"float16": 2, "float32": 1})


def test_what_8_6_calls_an_error_of_a_build_that_succeeds_is_none(targets_bundle: Bundle, tmp_path: Path) -> None:
    """A timing cache that several processes share is sometimes not taken."""
    done = compile_here(request_for(targets_bundle.folder / "vision.full-t3.tensorrt-8.onnx", tmp_path))
    assert done.warnings == []


def test_what_a_build_learns_is_added_to_what_others_learned_meanwhile(targets_bundle: Bundle, tmp_path: Path) -> None:
    timing = tmp_path / "timing.bin"
    timing.write_bytes(b"before")
    original = Builder.build_serialized_network

    def while_another_ends(self: Builder, network: Any, config: Any) -> bytes:
        timing.write_bytes(b"before other")
        return original(self, network, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "build_serialized_network", while_another_ends)
        compile_here(request_for(targets_bundle.folder / "vision.full-t3.tensorrt-8.onnx", tmp_path))
    assert timing.read_bytes() == b"before other vision.full-t3.tensorrt-8"


def test_a_bundle_is_compiled_and_its_passports_say_how(
    targets_bundle: Bundle,
    tmp_path: Path,
    cuda: FakeCuda,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle"))
    monkeypatch.setattr(run_module, "this_device", lambda: WORKSTATION)
    monkeypatch.setattr(run_module, "compile_part", compile_here)
    # Engines are tried as soon as they are compiled, on the fake GPU and in this version.
    monkeypatch.setattr("stts_runtime.compile.trial.load_cuda", lambda: None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt_8)
    heard = Heard()
    passports = compile_bundle(CompileRequest(copy, "tensorrt", jobs=2), heard)
    assert {one.lowering for one in passports} == {"tensorrt-8"}
    assert {one.builder_flags for one in passports} == {"fp16, weakly typed"}
    assert all(one.inspected is not None and one.inspected.layers == 2 for one in passports)
    assert all(one.proof for one in passports)
    assert "8.6.0 does not tell how far a build is" in heard.notes[0]
    again = Heard()
    assert compile_bundle(CompileRequest(copy, "tensorrt"), again) == passports
    assert (again.begun, again.notes) == ([], [])


def bundle_of(graph: Graph, **manifest: Any) -> Any:
    """As much of a bundle as is asked which graph to compile."""
    return SimpleNamespace(
        folder=Path("b"),
        manifest=SimpleNamespace(
            parts=lambda: {"language": {"x": graph}},
            language=SimpleNamespace(context=576),
            rebuild_for=lambda target: f"stts-export build --target {target}",
            **{"quantization": None, **manifest},
        ),
    )


def test_what_8_6_cannot_have_is_refused_by_name(targets_bundle: Bundle) -> None:
    graphs = targets_bundle.manifest.language.graphs
    eight, ten = graphs["tensorrt-8"], graphs["tensorrt-10"]
    for bundle, message in (
        (bundle_of(ten), r"8\.6\.0 cannot read the graphs of b, which need 10\.3 or newer; on JetPack 6\.0 .*build it"),
        (bundle_of(ten, quantization=1), r"cannot read the quantized graphs of b: .* opset 19, .* from 10\.3 on"),
        (bundle_of(eight.model_copy(update={"precision": "bf16"})), r"8\.6\.0 has no bf16.*--precision fp16"),
        (bundle_of(eight.model_copy(update={"wide": ["layers.3"]})), r"computes in bf16 in layers\.3, whose values"),
    ):
        with pytest.raises(BundleError, match=message):
            parts_of(bundle, OLD, [])


@pytest.mark.parametrize(
    ("described", "counts"),
    [
        ('{"Layers": [{"Outputs": [{"Format/Datatype": "Half"}, {"Format/Datatype": "Float"}]}]}', "float16 float32"),
        ('{"Layers": [{"Outputs": [{"Format/Datatype": "BFloat16"}, {"Format/Datatype": "Int8"}]}]}', "bfloat16 int8"),
        ('{"Layers": [{"Outputs": [{"Format/Datatype": "Row major linear Int32"}]}]}', "int32"),
        ('{"Layers": [{"Outputs": [{"Format/Datatype": "N/A"}]}]}', "other"),
        ('{"Layers": ["a name alone"]}', ""),
        ("no JSON", ""),
    ],
)
def test_data_types_are_counted_by_whatever_name_a_version_has_for_them(described: str, counts: str) -> None:
    assert count_types(described) == dict.fromkeys(counts.split(), 1)
