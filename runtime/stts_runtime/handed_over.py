"""What a folder or file is that came to us half, or is something else: a sentence with the command that helps.

Downloads, copies and volumes leave marks that can be told from damage. It knows their names, and no schema.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

from stts_runtime.errors import UserError
from stts_runtime.leftovers import is_leftover
from stts_runtime.places import check_file, shown, unusable

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b'{"error"')
"""How what a server says begins, in place of the file that was asked for; XML of a storage's holds `<Error>`."""
_HEAD_BYTES = 512
_ARCHIVES = {
    b"PK\3\4": "unzip",
    b"\x1f\x8b": "tar xf",
    b"BZh": "tar xf",
    b"\xfd7zXZ\0": "tar xf",
    b"\x28\xb5\x2f\xfd": "tar xf",
    b"7z\xbc\xaf\x27\x1c": "7z x",
}
"""What unpacks a file that begins so."""
_TAR, _TAR_AT = b"ustar", 257
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OF_COPIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\.(.+)\.[A-Za-z0-9]{6}",  # rsync
        r"(?:\.syncthing\.|~syncthing~)(.+)\.tmp",
        r"(.+)\.(?:part|partial|filepart|incomplete|crdownload|download|aria2|tmp)",
    )
)
_OF_CONFLICTS = re.compile(r"(.+?)(?:\.sync-conflict-[\w-]+| \(.*\)| - Copy|_conflict-[\w-]+)(\.\w+)")
"""Names of conflict copies by Syncthing, Dropbox, ownCloud, desktops and others."""
_RSYNC_FOLDERS = (".~tmp~", ".rsync-partial")


def check_is_content(path: Path, error: type[UserError] = UserError) -> None:
    """Raises `error` for what Git put in the place of a large file, or a server in the place of any."""
    head = _head(path)
    if head.startswith(_LFS):
        raise error(
            f"{shown(path)} is a Git LFS pointer and not the file itself; fetch what it stands for: "
            f"git -C {shlex.quote(shown(path.parent))} lfs pull"
        )
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
    if text.startswith(_PAGES) or (text.startswith(b"<?xml") and b"<error>" in text):
        raise error(
            f"{shown(path)} is a server's answer (a page or an error) and not the file itself; download it again, "
            "signed in where that is asked for"
        )


def packed(path: Path) -> str:
    """What to do with a file that stands where a folder belongs; empty unless it is an archive."""
    head = _head(path)
    tar = "tar xf" if head[_TAR_AT:].startswith(_TAR) else None
    command = next((tool for magic, tool in _ARCHIVES.items() if head.startswith(magic)), tar)
    return f"it is an archive; unpack it first: {command} {shlex.quote(shown(path))}" if command else ""


def _head(path: Path) -> bytes:
    """Empty if it cannot be read; the reader reports why."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def text_of(content: bytes, path: Path, error: type[UserError] = UserError) -> bytes:
    """`content` of a text file without the mark that Windows' editors put before it. Raises `error` for UTF-16."""
    if content.startswith(_UTF_16):
        raise error(
            f"{shown(path)} is UTF-16, as PowerShell's > and Notepad's \"Unicode\" write it; save it as UTF-8: "
            f"iconv -f UTF-16 -t UTF-8 {shlex.quote(shown(path))}"
        )
    return content.removeprefix(_BYTE_ORDER_MARK)


def small_text(path: Path, most_bytes: int, wanted: str, use: str) -> str:
    """Reads a hand-written text file; `wanted` says what it should be, and `use` what for.

    Raises `UserError` if it cannot be read, is larger, or is no UTF-8.
    """
    check_file(path, wanted=wanted)
    check_is_content(path)
    try:
        if path.stat().st_size > most_bytes:
            raise UserError(f"{path} is too large for {use}: it may have {most_bytes:,} bytes")
        return text_of(path.read_bytes(), path).decode()
    except OSError as error:
        raise UserError(unusable(path, error)) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None


def why_a_link(folder: Path, name: str) -> str:
    """Why a file of a bundle may be a link, and what to do."""
    copied = f"copy it with its files: cp -rL {shlex.quote(shown(folder))} NEW_FOLDER"
    if "blobs" in (folder / name).readlink().parts:
        return f"the folder is in a hub's cache, which is made of links, and a bundle must not hold any; {copied}"
    return f"which a bundle must not hold, since it may lead anywhere; {copied}"


def why_unlisted(folder: Path, name: str, listed: Collection[str]) -> str:
    """What a name is that a bundle's manifest does not list, and what to do."""
    quoted = shlex.quote(shown(folder / name))
    if is_half_copied(name, listed):
        return f"a copy was interrupted: delete it and copy the bundle again: rm -r {quoted}"
    if (found := _OF_CONFLICTS.fullmatch(name)) and found[1] + found[2] in listed:
        return f"it is a second copy of {found[1] + found[2]}, as sync tools and desktops make them: rm {quoted}"
    return "take it out of the bundle"


def is_half_copied(name: str, listed: Collection[str]) -> bool:
    """Whether `name` is what a copy of one of the `listed` files is called until it is whole."""
    copies = (pattern.fullmatch(name) for pattern in _OF_COPIES)
    return name in _RSYNC_FOLDERS or any(copy is not None and copy[1] in listed for copy in copies)


def no_bundle(folder: Path, manifest: str) -> str:
    """What a folder is that holds no manifest, and what to do."""
    names = _names(folder)
    if any(is_half_copied(name, {manifest}) for name in names):
        return f"its copy was interrupted before {manifest} was there; copy it again"
    if "config.json" in names or "config.yaml" in names:
        return f"it is a checkpoint; build a bundle of it: stts-export build {shlex.quote(shown(folder))} --out BUNDLE"
    if other := next((name for name in names if name.lower() == manifest), None):
        return f"it holds {other}, so names lost their case on the way; copy it again, as an archive"
    return _hub_cache(folder, names) or _only_below(folder, manifest) or "build one with `stts-export build`"


def no_checkpoint(folder: Path) -> str:
    """What a folder is that holds no configuration of a model, and what to do; empty if unknown."""
    names = _names(folder)
    if "manifest.json" in names:
        return f"it is a bundle, built already: stts-runtime run {shlex.quote(shown(folder))} VIDEO --ask QUESTION"
    return (
        _other_format(names, shlex.quote(shown(folder)))
        or _hub_cache(folder, names)
        or _only_below(folder, "config.json")
        or ""
    )


def no_checkpoint_in(names: Collection[str], repository: str) -> str:
    """The same for what a repository on the hub holds."""
    if "manifest.json" in names:
        here = repository.partition("/")[2]
        fetch, run = f"hf download {repository} --local-dir {here}", f"stts-runtime run {here} VIDEO --ask QUESTION"
        return f"it is a bundle, built already: {fetch}; {run}"
    return _other_format(names, "FOLDER")


def _other_format(names: Collection[str], place: str) -> str:
    if "adapter_config.json" in names:
        return (
            "it is an adapter (LoRA) and no model; merge it into its base model first: "
            f"stts-export import BASE --adapter {place} --out CHECKPOINT"
        )
    if any(name.endswith(".gguf") for name in names):
        return "GGUF is llama.cpp's format; give the Hugging Face folder that it was converted from"
    return ""


def other_weights(folder: Path) -> str:
    """What weights of another format a checkpoint holds, and what to do; empty where there are none."""
    names = _names(folder)
    if any(name.startswith("pytorch_model") and name.endswith(".bin") for name in names):
        return "it holds pytorch_model.bin; write it as safetensors: save_pretrained(..., safe_serialization=True)"
    if any(name.endswith((".incomplete", ".part", ".aria2")) for name in names) or (folder / ".cache").is_dir():
        return "its download may have been interrupted; run `hf download` again, which continues where it stopped"
    return no_checkpoint(folder)


def _hub_cache(folder: Path, names: Iterable[str]) -> str:
    if "snapshots" not in names:
        return ""
    newest = next(iter(sorted((folder / "snapshots").glob("*"))), folder / "snapshots" / "HASH")
    return f"it is a model's folder in a hub's cache; give the snapshot in it: {shown(newest)}"


def _only_below(folder: Path, name: str) -> str:
    found = sorted(place for place in folder.glob(f"*/{name}") if not is_leftover(place.parent.name))
    return f"give the folder in it: {shown(found[0].parent)}" if len(found) == 1 else ""


def _names(folder: Path) -> list[str]:
    return [place.name for place in folder.iterdir()]
