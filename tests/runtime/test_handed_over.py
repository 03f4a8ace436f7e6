"""What came to us half, or is something else than was asked for: what it is, and the command that helps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.errors import SourceError, UserError
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config
from stts_runtime.video import check_source
from tests.support.installed import HAS_TORCH

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def bundle(micro_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_bundle.folder, tmp_path / "b"))


@pytest.fixture
def checkpoint(micro_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_checkpoint, tmp_path / "k"))


def _renamed(folder: Path, name: str, to: str) -> None:
    (folder / name).rename(folder / to)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda b: (b / "manifest.json").write_text(POINTER), "Git LFS pointer .*: git -C .*/b lfs pull"),
        (lambda b: (b / "vision.safetensors").write_text(POINTER), "Git LFS pointer"),
        (lambda b: _renamed(b, "tokenizer.json", ".tokenizer.json.aB3dE9"), r"interrupted.*rm -r .*\.aB3dE9$"),
        (lambda b: _renamed(b, "manifest.json", ".manifest.json.aB3dE9"), "interrupted before manifest.json was there"),
        (lambda b: _renamed(b, "tokenizer.json", "tokenizer.json.part"), "interrupted"),
        (lambda b: _renamed(b, "tokenizer.json", ".syncthing.tokenizer.json.tmp"), "a copy was interrupted"),
        (lambda b: (b / ".rsync-partial").mkdir(), "a copy was interrupted"),
        (
            lambda b: (b / "manifest.sync-conflict-20261129-101010-AB12CD3.json").touch(),
            r"second copy of manifest\.json.*: rm .*sync-conflict",
        ),
        (lambda b: (b / "tokenizer (1).json").touch(), r"second copy of tokenizer\.json"),
        (lambda b: (b / "notes.txt").touch(), "take it out of the bundle"),
        (lambda b: _renamed(b, "manifest.json", "MANIFEST.JSON"), "it holds MANIFEST.JSON, so names lost their case"),
        (lambda b: (b / "manifest.json").write_text("<!DOCTYPE html><title>Sign in"), "is a server's answer"),
        (
            lambda b: (b / "tokenizer.json").write_text('<?xml version="1.0"?><Error><Code>AccessDenied'),
            "a server's answer",
        ),
        (lambda b: _renamed(b, "manifest.json", "config.json"), "it is a checkpoint.*stts-export build"),
    ],
)
def test_a_bundle_that_came_half_says_what_happened(bundle: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(bundle)
    with pytest.raises(UserError, match=words):
        Bundle.open(bundle).verify_all()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("zip", r"unpack it first: unzip .*b\.zip$"),
        ("gztar", r"unpack it first: tar xf .*b\.tar\.gz$"),
        ("tar", r"unpack it first: tar xf .*b\.tar$"),
    ],
)
def test_an_archive_of_a_bundle_is_told_with_what_unpacks_it(bundle: Path, form: str, words: str) -> None:
    archive = Path(shutil.make_archive(str(bundle), form, bundle.parent, bundle.name))
    with pytest.raises(UserError, match=f"is a file, and a bundle is a folder: it is an archive; {words}"):
        Bundle.open(archive)


LEFT_BY_OTHERS = (
    "lost+found", ".snapshot", "@eaDir", ".Trash-1000", ".stfolder", "Thumbs.db", "THUMBS.DB", ".DS_Store",
    "._manifest.json", "$RECYCLE.BIN", "System Volume Information", "#recycle", "desktop.ini", ".cache",
    ".gitattributes", ".nfs000000000a",
)  # fmt: skip


def test_what_volumes_and_tools_leave_in_a_bundle_is_passed_over(bundle: Path) -> None:
    for name in LEFT_BY_OTHERS:
        (bundle / name).mkdir(mode=0)
    Bundle.open(bundle).verify_all()


def test_no_manifest_is_looked_for_in_what_tools_leave(bundle: Path) -> None:
    (bundle / ".stversions").mkdir()
    _renamed(bundle, "manifest.json", ".stversions/manifest.json")
    with pytest.raises(UserError, match=r"holds no manifest\.json; build one"):
        Bundle.open(bundle)


def test_a_bundle_in_a_hubs_cache_is_copied_with_its_files(bundle: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    bundle.rename(blobs)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    with pytest.raises(UserError, match=f"is in a hub's cache.*cp -rL {snapshot} NEW_FOLDER"):
        Bundle.open(snapshot)
    with pytest.raises(UserError, match=f"give the snapshot in it: {snapshot}"):
        Bundle.open(tmp_path / "hub")


def test_a_video_that_git_lfs_did_not_fetch(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text(POINTER)
    with pytest.raises(SourceError, match="is a Git LFS pointer"):
        check_source(str(tmp_path / "clip.mp4"))


def test_marks_of_windows_editors(tmp_path: Path, micro_bundle: Bundle, bundle: Path) -> None:
    text = "bundle: b\nquestions: [Who]\nstreams: [{name: a, source: a.mp4}]\n"
    path = tmp_path / "cameras.yaml"
    path.write_bytes(MARK + text.encode())
    assert load_config(path, StreamConfig).questions == ("Who",)
    path.write_text(text, encoding="utf-16")
    with pytest.raises(UserError, match=r"is UTF-16.*iconv -f UTF-16 -t UTF-8"):
        load_config(path, StreamConfig)
    toml = b'bundle = "b"\nquestions = ["x"]\n[[streams]]\nname = "a"\nsource = "b"\n'
    path.with_suffix(".toml").write_bytes(MARK + toml)
    assert load_config(path.with_suffix(".toml"), StreamConfig).streams[0].name == "a"
    manifest = bundle / "manifest.json"
    manifest.write_bytes(MARK + manifest.read_bytes())
    assert Bundle.open(bundle).manifest == micro_bundle.manifest


def _annexed(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(".git/annex/objects/x")


@pytest.mark.skipif(not HAS_TORCH, reason="reads checkpoints, which takes torch")
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda k: (k / "model.safetensors").write_text(POINTER), "is a Git LFS pointer"),
        (lambda k: (k / "config.json").write_text(POINTER), "is a Git LFS pointer"),
        (lambda k: (k / "tokenizer.json").write_text(POINTER), "is a Git LFS pointer"),
        (lambda k: _renamed(k, "config.json", "adapter_config.json"), "an adapter .* merge it into its base model"),
        (lambda k: _renamed(k, "config.json", "m-Q4.gguf"), r"GGUF is llama\.cpp's format"),
        (lambda k: _renamed(k, "model.safetensors", "pytorch_model.bin"), "safe_serialization=True"),
        (lambda k: _renamed(k, "model.safetensors", "model.safetensors.incomplete"), "download may have been interrup"),
        (lambda k: (k / "config.json").write_text("{}", encoding="utf-16"), "is UTF-16"),
        (lambda k: (k / "config.json").write_text('{"error":"Repository not found"}'), "is a server's answer"),
        (lambda k: (k / "model.safetensors").write_text("<html><body>Sign in"), "is a server's answer"),
        (_annexed, r"is a link to \.git/annex/objects/x, which is not there; it is git-annex's: git annex get"),
    ],
)
def test_a_checkpoint_that_is_half_or_none(checkpoint: Path, harm: Callable[[Path], object], words: str) -> None:
    from stts_export.checkpoint import open_checkpoint

    harm(checkpoint)
    with pytest.raises(UserError, match=words):
        open_checkpoint(checkpoint)


@pytest.mark.skipif(not HAS_TORCH, reason="reads checkpoints, which takes torch")
def test_a_checkpoint_with_a_byte_order_mark_is_read(checkpoint: Path, bundle: Path) -> None:
    from stts_export.checkpoint import open_checkpoint

    config = open_checkpoint(checkpoint).config
    (checkpoint / "config.json").write_bytes(MARK + (checkpoint / "config.json").read_bytes())
    assert open_checkpoint(checkpoint).config == config
    with pytest.raises(UserError, match="it is a bundle, built already"):
        open_checkpoint(bundle)
