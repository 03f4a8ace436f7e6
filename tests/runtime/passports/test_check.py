"""A passport decides before an engine is loaded: what differs, in a sentence of its own, and the command that helps."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import FlavourName
from stts_runtime.device import Device, Gpu
from stts_runtime.engines import tensorrt as engine_module
from stts_runtime.errors import BundleError, MissingExtraError, UserError
from stts_runtime.passports import (
    EngineStore,
    Passport,
    check_device,
    check_installed,
    check_passport,
    verified_engines,
)
from stts_runtime.tensorrt import Flavour
from tests.support import fake_tensorrt
from tests.support.compiled import JETSON, WORKSTATION, passport_of, put_engine, with_engines
from tests.support.places import DATA
from tests.support.programs import assert_refused, run

PART = "vision.clip-t3-k0.5"
NOTHING = Device("linux-x86_64", None, None, None, "no driver")
FAKE = Flavour("tensorrt", fake_tensorrt)


@pytest.fixture
def bundle(targets_bundle: Bundle, tmp_path: Path) -> Bundle:
    return with_engines(targets_bundle, tmp_path, "tensorrt")


def changed(bundle: Bundle, **changes: Any) -> None:
    """Writes over fields of the vision engine's passport, as a hand would."""
    path = bundle.folder / "engines" / f"{PART}.tensorrt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def check(bundle: Bundle, device: Device = WORKSTATION) -> Passport:
    passport = EngineStore(bundle.folder).read(PART, "tensorrt")
    check_passport(bundle, PART, "tensorrt", passport)
    check_installed(bundle.folder, passport, FAKE, device.platform)
    check_device(bundle.folder, passport, device)
    return passport


def test_a_passport_comes_back_as_it_was_written(bundle: Bundle) -> None:
    read = check(bundle)
    assert read == passport_of(
        bundle, PART, "tensorrt", "tensorrt", plan_sha256=read.plan_sha256, plan_bytes=read.plan_bytes
    )
    assert EngineStore(bundle.folder).plan(read).read_bytes().startswith(b"{")
    assert [passport.part for passport in verified_engines(bundle)] == list(bundle.manifest.parts())


FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"part": "vision.full-t3"}, r"has the passport of another, vision\.full-t3.*were renamed"),
    ({"flavour": "tensorrt-rtx"}, r"has the passport of another, .* for tensorrt-rtx"),
    ({"lowering": "other"}, "from a graph for other, which this bundle does not have"),
    ({"precision": "bf16"}, r"computes in bf16 and the bundle's graph in fp16"),
    ({"wide": ["vision_tower.layers.1"]}, r"computes in fp16 with bf16 in vision_tower\.layers\.1"),
    (
        {"graph_sha256": "1" * 64},
        r"from another version of vision\.clip-t3-k0\.5\.tensorrt\.onnx: the bundle has been rebuilt",
    ),
    ({"weights_sha256": "1" * 64}, r"holds other weights than vision\.16bit\.safetensors"),
    ({"version": "10.3.0.30"}, r"with tensorrt 10\.3\.0\.30 and 11\.4\.0\.106 is installed, which cannot load it"),
    ({"platform": "linux-aarch64"}, "was compiled on linux-aarch64 and this is linux-x86_64"),
    (
        {"architectures": ["sm87"]},
        r"compiled for sm87 and this GPU, NVIDIA RTX A4000, is sm86; compile it for this one",
    ),
    ({"l4t": "36.4.7"}, r"under Jetson Linux 36\.4\.7 and this is not a Jetson"),
    ({"driver": "590.1.2"}, r"under driver 590\.1\.2 and this is the older 580\.65\.06; update the driver"),
]


@pytest.mark.parametrize(("changes", "message"), FOREIGN)
def test_every_mismatch_is_a_sentence_with_the_command(bundle: Bundle, changes: dict[str, Any], message: str) -> None:
    changed(bundle, **changes)
    with pytest.raises(BundleError, match=message) as caught:
        check(bundle)
    assert f"stts-runtime compile {bundle.folder} --engine tensorrt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_kind_of_mismatch_has_a_sentence_of_its_own(bundle: Bundle) -> None:
    """Not only by the values in it: with plain words alone, no two are the same."""
    path = bundle.folder / "engines" / f"{PART}.tensorrt.json"
    original, sentences = path.read_text(), {}
    for changes, _ in FOREIGN:
        path.write_text(original)
        changed(bundle, **changes)
        with pytest.raises(BundleError) as caught:
            check(bundle)
        words = str(caught.value).split(" engine of ", maxsplit=1)[1].split(": stts-runtime")[0].split()
        sentences[" ".join(word for word in words if word.isalpha())] = changes
    # Another part and another flavour are both "the passport of another".
    assert len(sentences) == len(FOREIGN) - 1


def test_another_context_is_another_language_engine(bundle: Bundle) -> None:
    passport = EngineStore(bundle.folder).read("language", "tensorrt")
    assert passport.lengths is not None
    other = passport.model_copy(update={"lengths": passport.lengths.model_copy(update={"longest": 512})})
    with pytest.raises(BundleError, match=r"takes up to 512 tokens at once and the bundle's context is 576"):
        check_passport(bundle, "language", "tensorrt", other)


def test_a_jetson_with_another_release_of_its_linux_is_told(targets_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.open(Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle")))
    put_engine(
        bundle,
        PART,
        "tensorrt",
        "tensorrt-10",
        platform="linux-aarch64",
        architectures=["sm87"],
        l4t="36.4.3",
        driver=None,
    )
    with pytest.raises(BundleError, match=r"under Jetson Linux 36\.4\.3 and this is 36\.4\.7"):
        check(bundle, JETSON)
    check(bundle, replace(JETSON, l4t="36.4.3"))


def test_a_newer_driver_and_a_listed_architecture_are_fine(bundle: Bundle) -> None:
    changed(bundle, architectures=["sm80", "sm86", "sm120"], driver="570.1")
    assert check(bundle, replace(WORKSTATION, driver="590.0")).architectures == ["sm80", "sm86", "sm120"]
    with pytest.raises(BundleError, match="this GPU, Thor, is sm110"):
        check(bundle, replace(WORKSTATION, gpu=Gpu("Thor", "sm110", 1)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text("{"), r"is damaged \(.*compile the engine again: stts-runtime compile"),
        (lambda path: path.write_text('{"schema_version": 9}'), r"newer stts-runtime \(schema 9\).*pip install -U"),
        (lambda path: path.write_bytes(b" " * (1 << 21)), "too large to be a passport"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_suffix(".plan").unlink(), r"\.plan is missing"),
        (lambda path: path.with_suffix(".plan").write_bytes(b"x"), "is damaged: it is not the engine of its passport"),
    ],
)
def test_damage_is_named(bundle: Bundle, damage: Callable[[Path], Any], message: str) -> None:
    store = EngineStore(bundle.folder)
    damage(bundle.folder / "engines" / f"{PART}.tensorrt.json")
    with pytest.raises(BundleError, match=message):
        store.plan(store.read(PART, "tensorrt"))


def test_an_engine_that_was_never_compiled_says_what_helps_here(
    targets_bundle: Bundle, micro_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [
        (WORKSTATION, targets_bundle, r"no tensorrt engine of language; compile it on this machine: stts-runtime"),
        (NOTHING, targets_bundle, r"and no NVIDIA GPU is here to run one \(no driver\); --engine cpu needs none"),
        (WORKSTATION, micro_bundle, r"no graphs to compile one from \(it has cpu\); build it again with: stts-export"),
    ]
    for device, bundle, message in cases:
        monkeypatch.setattr(engine_module, "this_device", lambda device=device: device)
        with pytest.raises(BundleError, match=message):
            engine_module.checked_plan(bundle, "language", "tensorrt")


def test_tensorrt_that_is_missing_is_one_line_with_the_command(bundle: Bundle) -> None:
    with pytest.raises(MissingExtraError, match=r"tensorrt is not installed.*pip install 'stts-export\[tensorrt\]'"):
        engine_module.checked_plan(bundle, PART, "tensorrt")


def test_a_link_in_place_of_the_engines_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    engines = bundle.folder / "engines"
    shutil.move(engines, tmp_path / "elsewhere")
    engines.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="'engines', which its manifest does not list"):
        Bundle.open(bundle.folder)


def test_an_older_engine_is_replaced_whole(bundle: Bundle, tmp_path: Path) -> None:
    put_engine(bundle, PART, "tensorrt", "tensorrt-10")
    assert check(bundle).lowering == "tensorrt-10"
    assert not [path for path in bundle.folder.rglob("*") if "compiling" in path.name]


def test_a_bundle_that_cannot_be_written_is_the_users_to_put_right(bundle: Bundle, monkeypatch: Any) -> None:
    def read_only(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(UserError, match=r"engines cannot be written: the file system is read-only"):
        EngineStore(bundle.folder).scratch().__enter__()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph_sha256": "1" * 64}, "the bundle has been rebuilt since"),
        ({"precision": "bf16"}, "computes in bf16"),
        ({"version": "1.5.0.1"}, "was compiled with tensorrt-rtx 1.5.0.1 and"),
        ({"platform": "linux-aarch64"}, "was compiled on linux-aarch64"),
        ({"plan_sha256": "1" * 64}, "damaged"),
    ],
)
def test_the_program_says_it_in_one_line(
    targets_bundle: Bundle, tmp_path: Path, clip: Path, changes: dict[str, Any], message: str
) -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
    bundle = Bundle.open(Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle")))
    changes = {"version": tensorrt_rtx.__version__, "architectures": ["sm86"], **changes}
    for part in bundle.manifest.parts():
        put_engine(bundle, part, "tensorrt-rtx", "tensorrt", **changes)
    program = (
        ["inspect", bundle.folder]
        if "plan_sha256" in changes
        else ["run", bundle.folder, clip, "--ask", "What?", "--engine", "tensorrt-rtx"]
    )
    assert_refused(run("stts-runtime", *program), message)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_frozen_passport_of_every_schema_is_still_read(tmp_path: Path, schema: int) -> None:
    bundle = Bundle.open(Path(shutil.copytree(DATA / "bundle-v3", tmp_path / "bundle")))
    engines = bundle.folder / "engines"
    engines.mkdir()
    shutil.copy(DATA / f"passport-v{schema}.json", engines / "language.tensorrt-rtx.json")
    passport = EngineStore(bundle.folder).read("language", "tensorrt-rtx")
    check_passport(bundle, "language", "tensorrt-rtx", passport)
    assert (passport.builder_flags, passport.inspected is not None) == [(None, False), ("strongly typed", True)][
        schema - 1
    ]
    assert passport.lengths is not None
    assert passport.lengths.longest == bundle.manifest.language.context


def test_the_command_names_architectures_for_tensorrt_rtx_alone(targets_bundle: Bundle, tmp_path: Path) -> None:
    endings: dict[FlavourName, str] = {"tensorrt-rtx": " --arch sm86,sm120", "tensorrt": ""}
    for flavour, ending in endings.items():
        bundle = Bundle.open(Path(shutil.copytree(targets_bundle.folder, tmp_path / flavour)))
        put_engine(bundle, PART, flavour, "tensorrt", architectures=["sm86", "sm120"], graph_sha256="0" * 64)
        with pytest.raises(BundleError) as caught:
            verified_engines(bundle)
        assert str(caught.value).endswith(f"--engine {flavour} --variant clip-t3-k0.5{ending}")


def test_commands_can_be_pasted_whatever_the_path(targets_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.open(Path(shutil.copytree(targets_bundle.folder, tmp_path / "with space")))
    put_engine(bundle, PART, "tensorrt", "tensorrt", graph_sha256="0" * 64)
    with pytest.raises(BundleError) as caught:
        verified_engines(bundle)
    command = str(caught.value).partition("compile it again: ")[2]
    assert shlex.split(command)[:3] == ["stts-runtime", "compile", str(bundle.folder)]
