"""A bundle is untrusted input: damage, foreign names and newer schemas are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bundle import MANIFEST, Bundle
from stts_runtime.bundle.manifest import SCHEMA_VERSION
from stts_runtime.bundle.weight_layout import read_layout
from stts_runtime.engines import load_language, load_vision
from stts_runtime.errors import BundleError
from stts_runtime.session import Session
from stts_runtime.video import VideoFile, window_of_file
from tests.support.places import DATA


@pytest.fixture
def copy(micro_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_bundle.folder, tmp_path / "bundle"))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_no_bundle_and_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open(tmp_path / "nothing")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(tmp_path)


def test_a_newer_schema_asks_for_a_newer_runtime(copy: Path) -> None:
    change_manifest(copy, lambda content: content.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(BundleError, match=rf"newer stts-export \(schema {SCHEMA_VERSION + 1}\).*pip install -U"):
        Bundle.open(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "x"}'])
def test_a_damaged_manifest_is_said_to_be_damaged(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match="damaged"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/b.onnx", "", "..", ".hidden", "a\x00b"])
def test_names_that_leave_the_folder_are_refused(copy: Path, name: str) -> None:
    change_manifest(copy, lambda content: content["language"]["graphs"]["cpu"].update(graph=name))
    with pytest.raises(BundleError, match="is not a plain file name"):
        Bundle.open(copy)


def test_a_link_is_refused_even_if_its_target_is_right(copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "tokenizer.json"
    shutil.move(copy / "tokenizer.json", target)
    (copy / "tokenizer.json").symlink_to(target)
    bundle = Bundle.open(copy)
    with pytest.raises(BundleError, match=r"tokenizer\.json is a link"):
        bundle.file("tokenizer.json")
    shutil.move(copy / MANIFEST, tmp_path / "m.json")
    (copy / MANIFEST).symlink_to(tmp_path / "m.json")
    with pytest.raises(BundleError, match="is a link"):
        Bundle.open(copy)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.onnxruntime
def test_a_flipped_bit_is_found_before_the_engine_loads(copy: Path) -> None:
    flip_last_byte(copy / "vision.safetensors")
    with pytest.raises(BundleError, match=r"vision\.safetensors is damaged: its SHA-256"):
        load_vision(Bundle.open(copy), "clip-t3-k0.5")
    flip_last_byte(copy / "vision.safetensors")
    flip_last_byte(copy / "language.onnx")
    with pytest.raises(BundleError, match=r"language\.onnx is damaged"):
        load_language(Bundle.open(copy))


def test_a_truncated_or_missing_file_is_named(copy: Path) -> None:
    path = copy / "language.safetensors"
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(BundleError, match="10 bytes instead of"):
        Bundle.open(copy).verify_all()
    path.unlink()
    with pytest.raises(BundleError, match=r"language\.safetensors is missing"):
        Bundle.open(copy).verify_all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["variants"]["clip-t3-k0.5"].update(kept_groups=7), "clip-t3-k0.5"),
        (lambda content: content["variants"]["clip-t3-k0.5"].update(keep=0.01), "impossible"),
        (lambda content: content["language"].update(visual_rows=2), "more visual tokens"),
        (lambda content: content["files"].pop("language.onnx"), "files without a hash"),
        (lambda content: content["language"].update(context=-1), "context"),
        (lambda content: content.update(surprise=1), "surprise"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(copy: Path, change: Any, message: str) -> None:
    change_manifest(copy, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(schema_version=True), "not a manifest"),
        (lambda content: content.update(max_fps=1e308), "max_fps"),
        (lambda content: content.update(default_keep=0.7), "default keep"),
        (lambda content: content["vision"].update(image_size=2**31), "image_size"),
        (lambda content: content["vision"].update(pool=2), "damaged: vision: the frame size is not"),
        (lambda content: content["language"].update(layers=2**31), "layers"),
        (lambda content: content["language"]["graphs"]["cpu"].update(opset="24"), "opset"),
        (lambda content: content["language"]["graphs"]["cpu"].update(minimum_backend_version="x.y"), "minimum_backend"),
        (lambda content: content["language"]["graphs"]["cpu"].update(backend="\x1b]0;x\x07"), "backend"),
        (lambda content: content["prompt"].update(eos_ids=[-1]), "eos_ids"),
        (lambda content: content["prompt"].update(eos_ids=["5"]), "eos_ids"),
        (lambda content: content.update(build_command="rm -rf ~"), "build_command: it should be a command of"),
        (lambda content: content.update(build_command="stts-export build x; rm -rf ~"), "build_command: it should"),
        (lambda content: content.update(build_command="stts-export build $(x) --out 'y"), "build_command: it should"),
    ],
)
def test_types_and_bounds_are_strict(copy: Path, change: Any, message: str) -> None:
    change_manifest(copy, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"schema_version": 1, "max_fps": Infinity}'])
def test_nonsense_in_the_manifest_is_damage(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match="damaged"):
        Bundle.open(copy)


def test_a_file_that_the_manifest_does_not_list_is_refused(copy: Path) -> None:
    (copy / "unlisted.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"'unlisted\.bin', which its manifest does not list"):
        Bundle.open(copy)


def test_what_a_repository_holds_beside_a_bundle_is_passed_over(copy: Path) -> None:
    for name in ("README.md", "LICENSE", ".gitattributes"):
        (copy / name).write_text("as a hub has it")
    Bundle.open(copy)
    (copy / "README.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"'README\.onnx', which its manifest does not list"):
        Bundle.open(copy)


@pytest.mark.onnxruntime
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["language"].update(layers=1),
        lambda content: content["language"].update(layers=3),
        lambda content: content["language"].update(context=64),
        lambda content: content["language"]["graphs"]["cpu"].update(graph="vision.full-t3.onnx"),
    ],
)
def test_a_graph_that_is_not_the_one_described_is_refused(copy: Path, change: Any) -> None:
    change_manifest(copy, change)
    with pytest.raises(BundleError, match="not the graph that the manifest describes"):
        load_language(Bundle.open(copy))


@pytest.mark.onnxruntime
def test_a_pruned_variant_with_an_unpruned_graph_is_refused(copy: Path) -> None:
    swap = "vision.full-t3.onnx"
    change_manifest(copy, lambda content: content["variants"]["clip-t3-k0.5"]["graphs"]["cpu"].update(graph=swap))
    with pytest.raises(BundleError, match="not the graph that the manifest describes"):
        load_vision(Bundle.open(copy), "clip-t3-k0.5")


def test_a_changed_file_is_hashed_again(copy: Path) -> None:
    bundle = Bundle.open(copy)
    bundle.file("tokenizer.json")
    flip_last_byte(copy / "tokenizer.json")
    with pytest.raises(BundleError, match="damaged"):
        bundle.file("tokenizer.json")


def test_a_bundle_without_graphs_for_the_cpu_says_how_to_have_them(copy: Path) -> None:
    def other_target(content: dict[str, Any]) -> None:
        for part in (*content["variants"].values(), *content["live"]["variants"].values(), content["language"]):
            part["graphs"] = {"tensorrt": part["graphs"]["cpu"]}

    change_manifest(copy, other_target)
    with pytest.raises(
        BundleError,
        match=r"no graphs for the CPU \(it has tensorrt\): compile it first, stts-runtime .*`--target cpu`",
    ):
        load_language(Bundle.open(copy))


@pytest.mark.parametrize("field", [{"backend": "other"}, {"precision": "fp16"}])
def test_a_graph_for_another_backend_or_precision_is_refused(copy: Path, field: dict[str, str]) -> None:
    change_manifest(copy, lambda content: content["language"]["graphs"]["cpu"].update(field))
    with pytest.raises(BundleError, match=r"the CPU runs onnxruntime-cpu in fp32; rebuild it with: stts-export build"):
        load_language(Bundle.open(copy))


def test_parts_written_in_different_lowerings_are_refused(copy: Path) -> None:
    def extra(content: dict[str, Any]) -> None:
        content["language"]["graphs"]["tensorrt"] = content["language"]["graphs"]["cpu"]

    change_manifest(copy, extra)
    with pytest.raises(BundleError, match="not all written in the same lowerings"):
        Bundle.open(copy)


@pytest.mark.onnxruntime
def test_every_file_is_hashed_whatever_the_passport_names(copy: Path) -> None:
    change_manifest(copy, lambda content: content["language"]["graphs"]["cpu"].update(weights="tokenizer.json"))
    flip_last_byte(copy / "language.safetensors")
    with pytest.raises(BundleError, match=r"language\.safetensors is damaged"):
        load_language(Bundle.open(copy))


@pytest.mark.onnxruntime
def test_an_older_onnxruntime_is_named_with_the_remedy(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.20.1")
    with pytest.raises(BundleError, match=r"needs onnxruntime 1\.25 or newer, and 1\.20\.1 is installed"):
        load_language(Bundle.open(copy))


@pytest.mark.onnxruntime
def test_onnxruntime_reads_no_weights_outside_the_folder(copy: Path, tmp_path: Path) -> None:
    """The last line of defence against a graph whose external data points elsewhere, hashes and all."""
    import onnx
    import onnxruntime

    shutil.copy(copy / "language.safetensors", tmp_path / "stolen.bin")
    model = onnx.load(copy / "language.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../stolen.bin"
    (copy / "language.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=r"(?i)external data"):
        onnxruntime.InferenceSession(str(copy / "language.onnx"), providers=["CPUExecutionProvider"])


def test_the_best_variant_is_chosen(micro_bundle: Bundle) -> None:
    assert micro_bundle.choose(None, None, None) == "clip-t6-k0.5"
    assert micro_bundle.choose(1, None, None, at_most=5) == "full-t3"
    assert micro_bundle.choose(0.5, "frame", 3) == "frame-t3-k0.5"
    assert micro_bundle.choose(1, "frame", 3) == "full-t3", "an unpruned window has no budget to spread"
    with pytest.raises(BundleError, match=r"no variant with keep 0\.3; it has .*full-t3"):
        micro_bundle.choose(0.3, None, None)
    with pytest.raises(BundleError, match=r"gives 2 frames .* needs 3"):
        micro_bundle.choose(1, None, None, at_most=2)


@pytest.mark.onnxruntime
@pytest.mark.parametrize(
    ("schema", "lowerings"),
    [
        (1, ["cpu"]),
        (2, ["cpu"]),
        (3, ["cpu", "tensorrt", "tensorrt-10"]),
        (4, ["cpu", "cuda"]),
        (5, ["cpu"]),
        (6, ["cpu"]),
        (7, ["cpu"]),
    ],
)
def test_a_frozen_bundle_of_every_schema_still_answers(clip: Path, schema: int, lowerings: list[str]) -> None:
    bundle = Bundle.open(DATA / f"bundle-v{schema}")
    assert json.loads((bundle.folder / MANIFEST).read_text())["schema_version"] == schema
    assert list(bundle.manifest.language.graphs) == lowerings
    bundle.verify_all()
    session = Session.open(bundle, "clip-t2-k0.5")
    window = window_of_file(VideoFile(str(clip)), 2, bundle.manifest.max_fps, bundle.manifest.vision.image_size)
    answer = session.ask(session.watch(window), "What happens?", 4)
    assert answer.tokens.visual_kept == 4
    assert answer.tokens.generated >= 1


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]},
        {"dtype": "U8", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [0], "data_offsets": [-1, -1]},
        {"dtype": "U8", "shape": [8]},
        "U8",
    ],
)
def test_weights_that_do_not_lie_in_their_file_are_refused(tmp_path: Path, entry: object) -> None:
    path, header = tmp_path / "vision.safetensors", json.dumps({"weight": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(BundleError, match=r"vision\.safetensors is damaged: it is not a safetensors file"):
        read_layout(path)


@pytest.mark.parametrize("content", [b"", bytes(7), bytes(8), b"\xff" * 8, (2).to_bytes(8, "little") + b"[]"])
def test_a_file_without_a_header_holds_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vision.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="it is not a safetensors file"):
        read_layout(tmp_path / "vision.safetensors")
