"""Files of a bundle: opened only if they are plain files inside the folder, and hashed. It knows no schema."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from stts_runtime.bundle.manifest import FileRecord
from stts_runtime.errors import BundleError
from stts_runtime.handed_over import check_is_content, why_a_link
from stts_runtime.places import check_file, is_there, kind_of

_CHUNK_BYTES = 1 << 22


def plain_file(folder: Path, name: str) -> Path:
    """The path of `name`, which must be a regular file directly in `folder`; links are refused."""
    path = folder / name
    if not is_there(path, BundleError):
        raise BundleError(f"{folder}: {name} is missing; copy the bundle again, or rebuild it")
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise BundleError(f"{folder}: {name} is a link: {why_a_link(folder, name)}")
    if not stat.S_ISREG(mode):
        raise BundleError(f"{folder}: {name} is {kind_of(mode)} and not a plain file, which a bundle must not hold")
    check_file(path, BundleError)
    check_is_content(path, BundleError)
    return path


def record_of(path: Path) -> FileRecord:
    """Size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return FileRecord(sha256=digest.hexdigest(), size_bytes=path.stat().st_size)


Fingerprint = tuple[int, int, int]


def fingerprint(path: Path) -> Fingerprint:
    """What changes when a file is replaced or written to: inode, size, time of the last write."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def verify(path: Path, expected: FileRecord) -> None:
    """Raises `BundleError` unless size and hash are those of the manifest."""
    size = path.stat().st_size
    if size != expected.size_bytes:
        raise BundleError(f"{path} is damaged: {size} bytes instead of {expected.size_bytes}; copy the bundle again")
    if record_of(path).sha256 != expected.sha256:
        raise BundleError(f"{path} is damaged: its SHA-256 is not the manifest's; copy the bundle again")
